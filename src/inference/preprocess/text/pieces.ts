import type { ItemError } from "../../../schemas/item.ts";
import type { EncodedTexts } from "./tokenizer.ts";

/** Texts as token ids, and why some of them, by their place, have none. */
export type Piece = EncodedTexts & { errors: ReadonlyMap<number, ItemError> };

/** The most texts of a message to a thread, and, but for one alone, UTF-16 units of them: 50 ms, about. */
const PIECE = { texts: 500, chars: 100_000 };

/** At least one piece, be it empty. */
export function* piecesOf(texts: readonly string[]): Generator<readonly string[]> {
  let first = 0;
  let chars = 0;
  for (const [at, text] of texts.entries()) {
    if (at > first && (at - first === PIECE.texts || chars + text.length > PIECE.chars)) {
      yield texts.slice(first, at);
      first = at;
      chars = 0;
    }
    chars += text.length;
  }
  yield first === 0 ? texts : texts.slice(first);
}

/** One piece of several, in their order. */
export function join(pieces: readonly Piece[]): Piece {
  if (pieces.length === 1) return pieces[0]!;
  const texts = pieces.reduce((sum, { truncated }) => sum + truncated.length, 0);
  const ids = new Int32Array(pieces.reduce((sum, piece) => sum + piece.ids.length, 0));
  const offsets = new Uint32Array(texts + 1);
  const truncated = new Uint8Array(texts);
  const errors = new Map<number, ItemError>();
  let [text, token] = [0, 0];
  for (const piece of pieces) {
    ids.set(piece.ids, token);
    truncated.set(piece.truncated, text);
    for (let i = 0; i < piece.truncated.length; i++) offsets[text + i] = token + piece.offsets[i]!;
    for (const [at, error] of piece.errors) errors.set(text + at, error);
    text += piece.truncated.length;
    token += piece.ids.length;
  }
  offsets[texts] = token;
  return { ids, offsets, truncated, errors };
}
