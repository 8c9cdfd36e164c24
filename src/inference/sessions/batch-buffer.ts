/**
 * The layout of a batch, and of its answer, in the buffer that travels to an inference thread and back.
 *
 * A batch of n items: n × uint32 sizes in bytes, then the items' bytes without gaps. An answer with the best k labels of each
 * item: n × k × float64 scores, then n × k × int32 label indexes, best first. If an item's logits are not finite, its first index
 * is NOT_FINITE_INDEX.
 */

/** An item as the model takes it: a text's token ids, or an image's pixels (uint8, height × width × RGB). */
export type Packable = Int32Array | Uint8Array;

/** A label's index and its score (0..1). */
export type Ranked = { index: number; score: number };

export const NOT_FINITE_INDEX = -1;

const SIZE_BYTES = Uint32Array.BYTES_PER_ELEMENT;
const ANSWER_BYTES = Float64Array.BYTES_PER_ELEMENT + Int32Array.BYTES_PER_ELEMENT;

/** The bytes that a buffer needs for the batch and for its answer. */
export function packedBytes(items: readonly Packable[], topK: number): number {
  const batch = items.reduce((sum, item) => sum + SIZE_BYTES + item.byteLength, 0);
  return Math.max(batch, items.length * topK * ANSWER_BYTES);
}

export function packBatch(items: readonly Packable[], buffer: ArrayBuffer): void {
  const sizes = new Uint32Array(buffer, 0, items.length);
  const bytes = new Uint8Array(buffer);
  const words = new Int32Array(buffer, 0, buffer.byteLength >>> 2);
  let offset = sizes.byteLength;
  for (const [at, item] of items.entries()) {
    sizes[at] = item.byteLength;
    // A batch of texts contains only words, so ids are aligned to words.
    if (item instanceof Int32Array) words.set(item, offset / Int32Array.BYTES_PER_ELEMENT);
    else bytes.set(item, offset);
    offset += item.byteLength;
  }
}

/** The items' token ids, as views of the buffer. */
export function unpackTexts(buffer: ArrayBuffer, count: number): Int32Array<ArrayBuffer>[] {
  let offset = count * SIZE_BYTES;
  return Array.from(new Uint32Array(buffer, 0, count), (size) => {
    const item = new Int32Array(buffer, offset, size / Int32Array.BYTES_PER_ELEMENT);
    offset += size;
    return item;
  });
}

/** The items' pixels, one item after the other, as one view of the buffer. */
export function unpackImages(buffer: ArrayBuffer, count: number): Uint8Array<ArrayBuffer> {
  const size = new Uint32Array(buffer, 0, count).reduce((sum, each) => sum + each, 0);
  return new Uint8Array(buffer, count * SIZE_BYTES, size);
}

/** Views of an answer's scores and indexes, item after item. */
export function answerViews(
  buffer: ArrayBuffer,
  count: number,
  topK: number,
): { scores: Float64Array; indexes: Int32Array } {
  const scores = new Float64Array(buffer, 0, count * topK);
  return { scores, indexes: new Int32Array(buffer, scores.byteLength, count * topK) };
}

/** The best k labels of each item, or null if its logits were not finite. */
export function unpackAnswer(buffer: ArrayBuffer, count: number, topK: number): (Ranked[] | null)[] {
  const { scores, indexes } = answerViews(buffer, count, topK);
  const answers: (Ranked[] | null)[] = [];
  for (let first = 0; first < count * topK; first += topK) {
    if (indexes[first] === NOT_FINITE_INDEX) {
      answers.push(null);
      continue;
    }
    const best: Ranked[] = [];
    for (let at = first; at < first + topK; at++) best.push({ index: indexes[at]!, score: scores[at]! });
    answers.push(best);
  }
  return answers;
}
