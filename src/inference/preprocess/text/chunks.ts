import type { ItemError } from "../../../schemas/item.ts";
import type { EncodedTexts } from "./tokenizer.ts";

/** Texts as token ids, and the errors of those without ids, by index. */
export type Chunk = EncodedTexts & { errors: ReadonlyMap<number, ItemError> };

/** Limits of a message to a thread: texts, and their UTF-16 units unless it is one text. A chunk takes about 50 ms. */
const CHUNK = { texts: 500, chars: 100_000 };

/** Splits texts into chunks: at least one, which may be empty. */
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

/** Joins chunks, in their order. */
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
