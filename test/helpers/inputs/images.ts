import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { crc32, deflateSync } from "node:zlib";
import sharp, { type Sharp } from "sharp";
import { LabelmillError } from "../../../src/errors.ts";
import type { ImageRecipe } from "../../../src/inference/model/image-recipe.ts";
import { decodeImage } from "../../../src/inference/preprocess/image/decode-image.ts";

export const NORM = { rescale: 1 / 255, mean: [0, 0, 0], std: [1, 1, 1] } satisfies Partial<ImageRecipe>;
export const TINY: ImageRecipe = {
  width: 32,
  height: 32,
  resize: { kind: "shortest-edge", edge: 32 },
  crop: true,
  filter: "bicubic",
  ...NORM,
};
export const LARGE: ImageRecipe = { ...TINY, width: 224, height: 224, resize: { kind: "shortest-edge", edge: 256 } };

export const fixture = (name: string) => readFile(new URL(`../../fixtures/images/${name}`, import.meta.url));

/** Checks that decoding `bytes` is refused with this code and a matching message. */
export async function rejects(bytes: Uint8Array, code: string, message?: RegExp, recipe = TINY): Promise<void> {
  await assert.rejects(decodeImage(bytes, recipe), (error) => {
    assert.ok(error instanceof LabelmillError);
    assert.equal(error.code, code, error.message);
    if (message) assert.match(error.message, message);
    return true;
  });
}

/** An image without symmetry: all rotations and reflections differ. */
export function gradient(width: number, height: number): Sharp {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      data.set(
        [(255 * x) / width, (255 * y) / height, 127 * (Math.sin(x / 9) * Math.cos(y / 7) + 1)],
        (y * width + x) * 3,
      );
    }
  }
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** Mean absolute difference of the bytes of two images, 0 to 255. */
export function meanDifference(a: Uint8Array, b: Uint8Array): number {
  assert.equal(a.length, b.length);
  return a.reduce((sum, value, i) => sum + Math.abs(value - b[i]!), 0) / a.length;
}

export function pngChunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

/** A PNG whose header says `width` × `height` and whose pixel data is `data`, compressed but not checked. */
export function png(width: number, height: number, data: Uint8Array, header = [8, 2, 0, 0, 0]): Buffer {
  const size = Buffer.alloc(8);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  const parts = [pngChunk("IHDR", Buffer.concat([size, Buffer.from(header)])), pngChunk("IDAT", deflateSync(data))];
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), ...parts, pngChunk("IEND", new Uint8Array())]);
}
