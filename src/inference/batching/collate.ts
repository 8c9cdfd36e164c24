import type { ImageRecipe } from "../model/image-recipe.ts";
import type { PaddingSide } from "../model/tokenizer/config.ts";
import { unpackImages, unpackTexts } from "../sessions/batch-buffer.ts";
import type { Input, Shape } from "../sessions/model-session.ts";

/** Builds the model's inputs from a packed batch of `count` items, padded to `shape`. */
export type Collator = (buffer: ArrayBuffer, count: number, shape: Shape) => Input[];

/** The inputs that a text model may have, all int64, [rows, length]. */
export const TEXT_INPUTS: readonly string[] = ["input_ids", "attention_mask", "token_type_ids"];
/** The element type of the input of an image model: [rows, height, width, RGB]. */
export const IMAGE_ELEMENTS = "uint8";

/** Pads texts with `padId` on one side and masks the padding. Texts have one segment, so token types are 0. @param names of TEXT_INPUTS */
export function textCollator(names: readonly string[], padId: number, side: PaddingSide = "right"): Collator {
  const pad = BigInt(padId);
  let buffers = new Map<string, BigInt64Array<ArrayBuffer>>();
  let capacity = 0;
  return (buffer, count, { rows, length }) => {
    const texts = unpackTexts(buffer, count);
    const size = rows * length;
    if (size > capacity) {
      capacity = size;
      buffers = new Map(names.map((name) => [name, new BigInt64Array(capacity)]));
    }
    /** The offset of a text in its row. */
    const begin = (text: Int32Array) => (side === "left" ? length - text.length : 0);
    writeIds(buffers.get("input_ids")?.fill(pad, 0, size), texts, length, begin);
    const mask = buffers.get("attention_mask")?.fill(0n, 0, size);
    for (const [row, text] of texts.entries()) {
      const from = row * length + begin(text);
      mask?.fill(1n, from, from + text.length);
    }
    // A row without a text attends to its padding: otherwise its softmax would be over nothing.
    mask?.fill(1n, count * length, size);
    return names.map((name) => ({ name, data: buffers.get(name)!.subarray(0, size), dims: [rows, length] }));
  };
}

/**
 * Writes ids as int64 values, each as two 32-bit words: the id, which is not negative and has at most 31 bits, and 0. The lower word
 * is first on all platforms of onnxruntime-node. A BigInt for each token would take longer than everything else on the thread.
 */
function writeIds(
  into: BigInt64Array | undefined,
  texts: readonly Int32Array[],
  length: number,
  begin: (text: Int32Array) => number,
): void {
  if (!into) return;
  const words = new Int32Array(into.buffer);
  for (const [row, text] of texts.entries())
    for (let at = 0, word = 2 * (row * length + begin(text)); at < text.length; at++, word += 2)
      words[word] = text[at]!;
}

/** Passes the packed pixels on: the model normalizes them itself (fuse-preprocessing.ts). @param name of the model's one input */
export function imageCollator(name: string, { width, height }: ImageRecipe): Collator {
  let padded = new Uint8Array(0);
  return (buffer, count, { rows }) => {
    const dims = [rows, height, width, 3];
    const pixels = unpackImages(buffer, count);
    if (rows === count) return [{ name, data: pixels, dims }];
    const image = pixels.subarray(0, width * height * 3);
    const size = rows * image.length;
    if (size > padded.length) padded = new Uint8Array(size);
    padded.set(pixels);
    // A row without an image gets a copy of the first one: a model that scales by the values of the whole batch sees no new values.
    for (let row = count; row < rows; row++) padded.set(image, row * image.length);
    return [{ name, data: padded.subarray(0, size), dims }];
  };
}
