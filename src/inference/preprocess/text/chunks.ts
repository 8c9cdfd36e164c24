import type { ItemError } from "../../../schemas/item.ts";
import type { EncodedTexts } from "./tokenizer.ts";

/** Texts as token ids, and why some of them, by their place, have none. */
export type Chunk = EncodedTexts & { errors: ReadonlyMap<number, ItemError> };

/** The most texts of a message to a thread, and, but for one alone, UTF-16 units of them: 50 ms, about. */
const CHUNK = { texts: 500, chars: 100_000 };

/** At least one chunk, be it empty. */
export function* chunksOf(texts: readonly string[]): Generator<readonly string[]> {
  let first = 0;
  let chars = 0;
  for (const [at, text] of texts.entries()) {
    if (at > first && (at - first === CHUNK.texts || chars + text.length > CHUNK.chars)) {
      yield texts.slice(first, at);
      first = at;
      chars = 0;
    }
    chars += text.length;
  }
  yield first === 0 ? texts : texts.slice(first);
}

/** One chunk of several, in their order. */
export function joinChunks(chunks: readonly Chunk[]): Chunk {
  if (chunks.length === 1) return chunks[0]!;
  const texts = chunks.reduce((sum, { truncated }) => sum + truncated.length, 0);
  const ids = new Int32Array(chunks.reduce((sum, chunk) => sum + chunk.ids.length, 0));
  const offsets = new Uint32Array(texts + 1);
  const truncated = new Uint8Array(texts);
  const errors = new Map<number, ItemError>();
  let [text, token] = [0, 0];
  for (const chunk of chunks) {
    ids.set(chunk.ids, token);
    truncated.set(chunk.truncated, text);
    for (let i = 0; i < chunk.truncated.length; i++) offsets[text + i] = token + chunk.offsets[i]!;
    for (const [at, error] of chunk.errors) errors.set(text + at, error);
    text += chunk.truncated.length;
    token += chunk.ids.length;
  }
  offsets[texts] = token;
  return { ids, offsets, truncated, errors };
}
