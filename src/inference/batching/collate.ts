import type { ImageRecipe } from "../model/image-recipe.ts";
import type { PaddingSide } from "../model/tokenizer/config.ts";
import type { Input, Shape } from "../sessions/model-session.ts";
import { unpackImages, unpackTexts } from "./packing.ts";

/** Makes the model's inputs from a packed batch of `count` items, padded to `shape`. */
export type Collator = (buffer: ArrayBuffer, count: number, shape: Shape) => Input[];

/** The inputs that a text model may ask for, all int64, [rows, length]. */
export const TEXT_INPUTS: readonly string[] = ["input_ids", "attention_mask", "token_type_ids"];
/** What the one input of an image model is made of: [rows, height, width, RGB]. */
export const IMAGE_ELEMENTS = "uint8";

/** Pads texts with `padId` on one side, masked. One segment only, so the token types are 0. `names` are of TEXT_INPUTS. */
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
    /** Where a text begins in its row. */
    const begin = (text: Int32Array) => (side === "left" ? length - text.length : 0);
    writeIds(buffers.get("input_ids")?.fill(pad, 0, size), texts, length, begin);
    const mask = buffers.get("attention_mask")?.fill(0n, 0, size);
    for (const [row, text] of texts.entries()) {
      const from = row * length + begin(text);
      mask?.fill(1n, from, from + text.length);
    }
    // A row without a text attends to its padding: else its softmax would be over nothing.
    mask?.fill(1n, count * length, size);
    return names.map((name) => ({ name, data: buffers.get(name)!.subarray(0, size), dims: [rows, length] }));
  };
}

/**
 * An int64 whose value is an id, so neither negative nor over 31 bits, is the id and a word of 0, the lower word first wherever
 * onnxruntime-node runs. A BigInt for each token would take longer than all the rest of the thread.
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

/** Hands the pixels over as they are packed: the model normalises them itself (fuse.ts). `name` is its one input's. */
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
    // A row without an image gets one that is there already: a model that scales by the values of the whole batch sees no other.
    for (let row = count; row < rows; row++) padded.set(image, row * image.length);
    return [{ name, data: padded.subarray(0, size), dims }];
  };
}
