import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import sharp from "sharp";
import type { ImageRecipe } from "../../../../src/inference/model/image-recipe.ts";
import { decodeImage } from "../../../../src/inference/preprocess/image/decode-image.ts";
import { fixture, gradient, LARGE, meanDifference, NORM, png, rejects, TINY } from "../../../helpers/inputs/images.ts";

describe("decoded images", () => {
  test("are upright from each of the eight orientations, larger and smaller than the target", async () => {
    for (const [width, height] of [
      [340, 270],
      [90, 120],
    ] as const) {
      for (let orientation = 1; orientation <= 8; orientation++) {
        const turned = await gradient(width, height).withMetadata({ orientation }).png().toBuffer();
        const upright = await sharp(turned).autoOrient().png().toBuffer();
        const difference = meanDifference(await decodeImage(turned, LARGE), await decodeImage(upright, LARGE));
        assert.ok(difference < 0.2, `${width} × ${height}, orientation ${orientation}: ${difference}`);
      }
    }
  });

  test("alpha is dropped: the color of a transparent pixel stays", async () => {
    const colour = { r: 200, g: 50, b: 10, alpha: 0 };
    for (const size of [20, 100]) {
      const bytes = await sharp({ create: { width: size, height: size, channels: 4, background: colour } })
        .png()
        .toBuffer();
      assert.deepEqual([...(await decodeImage(bytes, TINY)).subarray(0, 6)], [200, 50, 10, 200, 50, 10]);
    }
  });

  test("RGB is used as stored, without the color profile", async () => {
    for (const format of ["png", "jpeg", "webp"] as const) {
      const bytes = await gradient(60, 50).withIccProfile("p3").toFormat(format).toBuffer();
      const stored = await sharp(bytes, { ignoreIcc: true }).png().toBuffer();
      const converted = await sharp(bytes).png().toBuffer();
      const pixels = await decodeImage(bytes, TINY);
      assert.ok(
        meanDifference(pixels, await decodeImage(converted, TINY)) > 5,
        `${format}: the profile says otherwise`,
      );
      assert.ok(meanDifference(pixels, await decodeImage(stored, TINY)) < 0.5, format);
    }
  });

  test("16-bit samples, grey and RGB, become their high byte", async () => {
    const row = (channels: number) => [0, ...Array.from({ length: 64 * channels }, () => [0x12, 0xff]).flat()];
    for (const [colour, channels] of [
      [0, 1],
      [2, 3],
    ] as const) {
      const rows = new Uint8Array(Array.from({ length: 64 }, () => row(channels)).flat());
      const pixels = await decodeImage(png(64, 64, rows, [16, colour, 0, 0, 0]), TINY);
      assert.deepEqual(new Set(pixels), new Set([0x12]));
    }
  });

  test("grey has three equal channels", async () => {
    const pixels = await decodeImage(await fixture("grey.jpg"), TINY);
    for (let i = 0; i < pixels.length; i += 3) {
      assert.ok(pixels[i] === pixels[i + 1] && pixels[i] === pixels[i + 2]);
    }
  });

  test("the first frame of an animation", async () => {
    const frames = Buffer.alloc(40 * 80 * 3);
    for (let i = 0; i < frames.length; i += 3) frames[i + (i < frames.length / 2 ? 0 : 2)] = 255;
    const raw = { width: 40, height: 80, channels: 3, pageHeight: 40 } as const;
    for (const format of ["gif", "webp"] as const) {
      const bytes = await sharp(frames, { raw }).toFormat(format).toBuffer();
      assert.equal((await sharp(bytes).metadata()).pages, 2);
      const [red, , blue] = await decodeImage(bytes, TINY);
      assert.ok(red! > 240 && blue! < 15, `${format}: ${red}, ${blue}`);
    }
  });

  test("an image with one row becomes square", async () => {
    const bytes = await gradient(255, 1).png().toBuffer();
    assert.equal((await decodeImage(bytes, LARGE)).length, 224 * 224 * 3);
  });

  test("a model without a resize accepts images of its size, or crops larger ones", async () => {
    const plain: ImageRecipe = { ...TINY, resize: null, crop: false };
    const exact = await gradient(32, 32).png().toBuffer();
    const { data } = await gradient(32, 32).raw().toBuffer({ resolveWithObject: true });
    assert.deepEqual(Buffer.from(await decodeImage(exact, plain)), data);
    const larger = await gradient(35, 33).png().toBuffer();
    await rejects(larger, "IMAGE_INVALID", /expected 32 × 32, .* got 35 × 33/, plain);
    const cut = await gradient(35, 33).extract({ left: 1, top: 0, width: 32, height: 32 }).raw().toBuffer();
    assert.deepEqual(Buffer.from(await decodeImage(larger, { ...plain, crop: true })), cut);
    const smaller = await gradient(31, 40).png().toBuffer();
    await rejects(smaller, "IMAGE_INVALID", /at least 32 × 32/, { ...plain, crop: true });
  });

  test("stretched to an exact size as by Pillow's bicubic filter, each axis separately", async () => {
    for (const [width, height] of [
      [100, 300],
      [300, 100],
      [60, 60],
      [224, 90],
      [400, 500],
    ] as const) {
      const recipe: ImageRecipe = { ...LARGE, resize: { kind: "exact", width: 224, height: 224 }, crop: false };
      const source = await gradient(width, height).raw().toBuffer();
      const pixels = await decodeImage(await gradient(width, height).png().toBuffer(), recipe);
      const difference = meanDifference(pixels, stretch(source, width, height, 224));
      assert.ok(difference < 0.4, `${width} × ${height}: ${difference}`);
    }
  });

  test("always width × height × 3 bytes", async () => {
    const side = fc.integer({ min: 1, max: 600 });
    const format = fc.constantFrom("png" as const, "jpeg" as const, "webp" as const);
    const filter = fc.constantFrom("nearest" as const, "lanczos" as const, "bilinear" as const, "bicubic" as const);
    const channels = fc.constantFrom(3 as const, 4 as const);
    const property = fc.asyncProperty(
      side,
      side,
      format,
      filter,
      channels,
      fc.integer({ min: 1, max: 300 }),
      fc.boolean(),
      async (width, height, format, filter, channels, edge, exact) => {
        // A longer side is IMAGE_TOO_LARGE.
        fc.pre(exact || (edge * Math.max(width, height)) / Math.min(width, height) <= 65_535);
        const create = { width, height, channels, background: { r: 9, g: 99, b: 199, alpha: 0.5 } };
        const bytes = await sharp({ create }).toFormat(format).toBuffer();
        const size = { width: Math.max(1, edge - 3), height: Math.max(1, edge >> 1) };
        const resize = exact
          ? ({ kind: "exact", width: edge, height: edge } as const)
          : ({ kind: "shortest-edge", edge } as const);
        const pixels = await decodeImage(bytes, { ...NORM, ...size, resize, crop: true, filter });
        assert.equal(pixels.length, size.width * size.height * 3);
      },
    );
    await fc.assert(property, { numRuns: 60 });
  });
});

/** The expected result: Pillow's bicubic resize, one axis after the other, in plain numbers. */
function stretch(source: Uint8Array, width: number, height: number, to: number): Uint8Array {
  const across = alongRows(source, width, height, to);
  return Uint8Array.from(turn(alongRows(turn(across, to, height), height, to, to), to, to));
}

function alongRows(rows: ArrayLike<number>, width: number, height: number, to: number): number[] {
  const scale = width / to;
  const stretchBy = Math.max(1, scale);
  const out: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < to; x++) {
      const centre = (x + 0.5) * scale;
      const first = Math.max(0, Math.floor(centre - 2 * stretchBy + 0.5));
      const last = Math.min(width, Math.floor(centre + 2 * stretchBy + 0.5));
      const weights = Array.from({ length: last - first }, (_, i) => cubic((first + i - centre + 0.5) / stretchBy));
      const total = weights.reduce((a, b) => a + b);
      for (let c = 0; c < 3; c++) {
        const sum = weights.reduce((a, weight, i) => a + weight * rows[(y * width + first + i) * 3 + c]!, 0);
        out.push(Math.min(255, Math.max(0, Math.round(sum / total))));
      }
    }
  }
  return out;
}

function cubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return 1.5 * t ** 3 - 2.5 * t ** 2 + 1;
  return t < 2 ? -0.5 * t ** 3 + 2.5 * t ** 2 - 4 * t + 2 : 0;
}

function turn(pixels: ArrayLike<number>, width: number, height: number): number[] {
  const out: number[] = [];
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) for (let c = 0; c < 3; c++) out.push(pixels[(y * width + x) * 3 + c]!);
  }
  return out;
}
