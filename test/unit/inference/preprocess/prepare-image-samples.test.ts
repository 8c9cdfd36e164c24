/** Samples of images are read in the right colors, or refused. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { ImageRecipe } from "../../../../src/inference/model/image-recipe.ts";
import { decodeImage } from "../../../../src/inference/preprocess/image/decode-image.ts";
import { gradient, meanDifference, NORM, png, rejects } from "../../../helpers/inputs/images.ts";
import { samples, type Tag, tiff } from "../../../helpers/inputs/tiff.ts";

const SIDE = 32;
const AS_IS: ImageRecipe = { ...NORM, width: SIDE, height: SIDE, resize: null, crop: false, filter: "bicubic" };
const RGB = await gradient(SIDE, SIDE).raw().toBuffer();
/** One value for each pixel, 0 to 255. */
const GREY = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => Math.trunc((i * 255) / (SIDE * SIDE)));

const BLACK_IS_ZERO = 1;
const WHITE_IS_ZERO = 0;
const [RGB_SAMPLES, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB, CFA, LINEAR_RAW] = [2, 3, 5, 6, 8, 9, 32803, 34892];

function ycbcr(): number[][] {
  return Array.from({ length: SIDE * SIDE }, (_, i) => {
    const [r, g, b] = RGB.subarray(3 * i, 3 * i + 3) as unknown as [number, number, number];
    const y = 0.299 * r + 0.587 * g + 0.114 * b;
    return [y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128].map(Math.round);
  });
}

/** Two rows by two columns share a pair of chroma samples. */
function subsampled(): Uint8Array {
  const all = ycbcr();
  const units: number[] = [];
  for (let y = 0; y < SIDE; y += 2) {
    for (let x = 0; x < SIDE; x += 2) {
      const four = [0, 1, SIDE, SIDE + 1].map((step) => all[y * SIDE + x + step]!);
      const mean = (channel: number) => four.reduce((sum, each) => sum + each[channel]!, 0) / 4;
      units.push(...four.map(([luma]) => luma!), mean(1), mean(2));
    }
  }
  return Uint8Array.from(units);
}

/** Packed samples of less than a byte. Here a row is a whole number of bytes. */
function packed(values: Iterable<number>, bits: number): Uint8Array {
  const all = Array.from(values, (value) => value.toString(2).padStart(bits, "0")).join("");
  return Uint8Array.from({ length: all.length / 8 }, (_, i) => Number.parseInt(all.slice(i * 8, i * 8 + 8), 2));
}

/** Three bytes for each value. */
function asRgb(values: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: values.length * 3 }, (_, i) => values[Math.trunc(i / 3)]!);
}

function square(bits: readonly number[], photometric: number, strip: Uint8Array, ...more: Tag[]): Buffer {
  return tiff([...samples(SIDE, SIDE, bits, photometric), ...more], strip);
}

function wide(values: Uint8Array): Uint8Array {
  return new Uint8Array(Uint16Array.from(values, (value) => value * 257).buffer);
}

const levels = (bits: number) => GREY.map((value) => value >> (8 - bits));
const half = levels(1);

describe("read correctly", () => {
  const cases: [name: string, file: Buffer, expected: Uint8Array, tolerance?: number][] = [
    ["RGB of 8 bits", square([8, 8, 8], RGB_SAMPLES, RGB), RGB],
    ["RGB of 16 bits", square([16, 16, 16], RGB_SAMPLES, wide(RGB)), RGB],
    ["grey of 8 bits", square([8], BLACK_IS_ZERO, GREY), asRgb(GREY)],
    ["grey of 16 bits", square([16], BLACK_IS_ZERO, wide(GREY)), asRgb(GREY)],
    [
      "grey, white is zero",
      square(
        [8],
        WHITE_IS_ZERO,
        GREY.map((value) => 255 - value),
      ),
      asRgb(GREY),
    ],
    ["grey of 16 bits, white is zero", square([16], WHITE_IS_ZERO, wide(GREY.map((v) => 255 - v))), asRgb(GREY)],
    ["black and white", square([1], BLACK_IS_ZERO, packed(half, 1)), asRgb(half.map((value) => value * 255))],
    [
      "black and white, white is zero",
      square([1], WHITE_IS_ZERO, packed(half, 1)),
      asRgb(half.map((v) => 255 - v * 255)),
    ],
    [
      "a palette of 4 bits",
      square([4], PALETTE, packed(levels(4), 4), paletteOf(4)),
      asRgb(levels(4).map((v) => v * 17)),
    ],
    ["YCbCr, subsampled", square([8, 8, 8], YCBCR, subsampled(), [530, 2, 2]), RGB, 12],
  ];
  for (const [name, file, expected, tolerance = 0] of cases) {
    test(`TIFF: ${name}`, async () => {
      const difference = meanDifference(await decodeImage(file, AS_IS), expected);
      assert.ok(difference <= tolerance, `${difference}`);
    });
  }

  test("TIFF: YCbCr packed as JPEG, subsampled or not", async () => {
    // libvips subsamples below a quality of 90.
    for (const quality of [85, 100]) {
      const file = await gradient(SIDE, SIDE).tiff({ compression: "jpeg", quality }).toBuffer();
      assert.ok(meanDifference(await decodeImage(file, AS_IS), RGB) < 12, `quality ${quality}`);
    }
  });

  test("PNG: grey of 1, 2 and 4 bits", async () => {
    for (const bits of [1, 2, 4]) {
      const rows = Array.from({ length: SIDE }, (_, y) => {
        return [0, ...packed(levels(bits).subarray(y * SIDE, (y + 1) * SIDE), bits)];
      });
      const file = png(SIDE, SIDE, Uint8Array.from(rows.flat()), [bits, 0, 0, 0, 0]);
      const expected = asRgb(levels(bits).map((value) => (value * 255) / (2 ** bits - 1)));
      assert.deepEqual(await decodeImage(file, AS_IS), expected);
    }
  });
});

describe("refused, since libvips would read them in wrong colors, or their range is unknown", () => {
  const SAMPLE_FORMAT = 339;
  const [SIGNED, FLOAT] = [2, 3];
  const three = new Uint8Array(SIDE * SIDE * 3);
  const floats = (bytes: number) => new Uint8Array(SIDE * SIDE * bytes);
  const wholeYcbcr = Uint8Array.from(ycbcr().flat());
  const cases: [name: string, file: Buffer, message: RegExp][] = [
    ["YCbCr, not subsampled", square([8, 8, 8], YCBCR, wholeYcbcr, [530, 1, 1]), /got YCbCr without JPEG compression/],
    ["grey of 2 bits", square([2], BLACK_IS_ZERO, packed(levels(2), 2)), /got 2-bit grey/],
    ["grey of 4 bits, white is zero", square([4], WHITE_IS_ZERO, packed(levels(4), 4)), /got 4-bit grey/],
    ["grey of 12 bits", square([12], BLACK_IS_ZERO, floats(1.5)), /cannot be decoded/],
    ["signed grey", square([8], BLACK_IS_ZERO, GREY, [SAMPLE_FORMAT, SIGNED]), /got samples of type char/],
    ["signed grey of 16 bits", square([16], BLACK_IS_ZERO, wide(GREY), [SAMPLE_FORMAT, SIGNED]), /type short/],
    ["grey of 32 bits", square([32], BLACK_IS_ZERO, floats(4)), /type uint/],
    ["grey of floats", square([32], BLACK_IS_ZERO, floats(4), [SAMPLE_FORMAT, FLOAT]), /type float/],
    [
      "RGB of floats",
      square([32, 32, 32], RGB_SAMPLES, floats(12), [SAMPLE_FORMAT, FLOAT, FLOAT, FLOAT]),
      /type float/,
    ],
    ["CIELab of 8 bits", square([8, 8, 8], CIELAB!, three), /cannot be decoded/],
    ["CIELab of 16 bits", square([16, 16, 16], CIELAB!, floats(6)), /type short/],
    ["ICCLab", square([8, 8, 8], ICCLAB!, three), /color space multiband/],
    ["a sensor's mosaic", square([8], CFA!, GREY), /color space multiband/],
    ["linear raw", square([8, 8, 8], LINEAR_RAW!, three), /color space multiband/],
    ["inks that are not CMYK", square([8, 8, 8, 8], CMYK!, floats(4), [332, 2]), /color space multiband/],
  ];
  for (const [name, file, message] of cases) test(name, () => rejects(file, "IMAGE_INVALID", message, AS_IS));
});

/** Tones from black to white, of `bits` bits. */
function paletteOf(bits: number): Tag {
  const tones = Array.from({ length: 2 ** bits }, (_, i) => (i * 65_535) / (2 ** bits - 1));
  return [320, ...tones, ...tones, ...tones];
}
