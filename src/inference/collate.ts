import type { ImageRecipe } from "./image-recipe.ts";
import type { Input, Shape } from "./model-session.ts";
import { unpackImages, unpackTexts } from "./packing.ts";

/** Makes the model's inputs from a packed batch of `count` items, padded to `shape`. */
export type Collator = (buffer: ArrayBuffer, count: number, shape: Shape) => Input[];

/** The inputs that a text model may ask for, all int64, [rows, length]. */
export const TEXT_INPUTS: readonly string[] = ["input_ids", "attention_mask", "token_type_ids"];
/** What the one input of an image model is made of: [rows, height, width, RGB]. */
export const IMAGE_ELEMENTS = "uint8";

/** Pads texts with `padId`, masked. One segment only, so the token types are 0. `names` are of TEXT_INPUTS. */
export function textCollator(names: readonly string[], padId: number): Collator {
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
    fill(buffers.get("input_ids"), texts, length, pad, (text, at) => BigInt(text[at]!));
    fill(buffers.get("attention_mask"), texts, length, 0n, () => 1n);
    // A row without a text attends to its padding: else its softmax would be over nothing.
    buffers.get("input_ids")?.fill(pad, count * length, size);
    buffers.get("attention_mask")?.fill(1n, count * length, size);
    return names.map((name) => ({ name, data: buffers.get(name)!.subarray(0, size), dims: [rows, length] }));
  };
}

function fill(
  into: BigInt64Array | undefined,
  texts: readonly Int32Array[],
  length: number,
  pad: bigint,
  value: (text: Int32Array, at: number) => bigint,
): void {
  if (!into) return;
  for (const [row, text] of texts.entries()) {
    const start = row * length;
    for (let at = 0; at < text.length; at++) into[start + at] = value(text, at);
    into.fill(pad, start + text.length, start + length);
  }
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
