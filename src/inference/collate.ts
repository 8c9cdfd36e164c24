import type { ImageRecipe } from "./image-recipe.ts";
import { unpackImages, unpackTexts } from "./packing.ts";

/** One input of the model, ready to run. The data is a view of a buffer that the next batch overwrites. */
export type Input = { name: string; data: BigInt64Array<ArrayBuffer> | Float32Array<ArrayBuffer>; dims: number[] };

/** Makes the model's inputs from a packed batch. */
export type Collator = (buffer: ArrayBuffer, count: number) => Input[];

/** The inputs that a text model may ask for, all int64, [batch, tokens of the longest]. */
export const TEXT_INPUTS: readonly string[] = ["input_ids", "attention_mask", "token_type_ids"];
/** The one input of an image model: float32, [batch, 3, height, width]. */
export const IMAGE_INPUT = "pixel_values";

/** Pads to the longest text with `padId`, masked. One segment only, so the token types are 0. `names` are of TEXT_INPUTS. */
export function textCollator(names: readonly string[], padId: number): Collator {
  const pad = BigInt(padId);
  let buffers = new Map<string, BigInt64Array<ArrayBuffer>>();
  let capacity = 0;
  return (buffer, count) => {
    const texts = unpackTexts(buffer, count);
    const longest = texts.reduce((length, text) => Math.max(length, text.length), 0);
    const size = count * longest;
    if (size > capacity) {
      capacity = size;
      buffers = new Map(names.map((name) => [name, new BigInt64Array(capacity)]));
    }
    fill(buffers.get("input_ids"), texts, longest, pad, (text, at) => BigInt(text[at]!));
    fill(buffers.get("attention_mask"), texts, longest, 0n, () => 1n);
    return names.map((name) => ({ name, data: buffers.get(name)!.subarray(0, size), dims: [count, longest] }));
  };
}

function fill(
  into: BigInt64Array | undefined,
  texts: readonly Int32Array[],
  longest: number,
  pad: bigint,
  value: (text: Int32Array, at: number) => bigint,
): void {
  if (!into) return;
  for (const [row, text] of texts.entries()) {
    const start = row * longest;
    for (let at = 0; at < text.length; at++) into[start + at] = value(text, at);
    into.fill(pad, start + text.length, start + longest);
  }
}

/** (pixel × rescale − mean) ÷ std for each channel, from height × width × RGB to RGB × height × width. */
export function imageCollator(recipe: ImageRecipe): Collator {
  const { width, height } = recipe;
  const area = width * height;
  const tables = recipe.mean.map((mean, channel) =>
    Float32Array.from({ length: 256 }, (_, pixel) => (pixel * recipe.rescale - mean) / recipe.std[channel]!),
  );
  let data = new Float32Array(0);
  return (buffer, count) => {
    const size = count * 3 * area;
    if (size > data.length) data = new Float32Array(size);
    for (const [item, pixels] of unpackImages(buffer, count).entries()) {
      for (const [channel, table] of tables.entries()) {
        const plane = (item * 3 + channel) * area;
        for (let at = 0; at < area; at++) data[plane + at] = table[pixels[at * 3 + channel]!]!;
      }
    }
    return [{ name: IMAGE_INPUT, data: data.subarray(0, size), dims: [count, 3, height, width] }];
  };
}
