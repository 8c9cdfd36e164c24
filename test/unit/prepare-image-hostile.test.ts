import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { decodeImage } from "../../src/inference/image.ts";
import { fixture, gradient, LARGE, png, rejects, TINY } from "../helpers/pictures.ts";

/** A GIF of `frames` frames of `width` × `height`, each with the data of one pixel. */
function gif(width: number, height: number, frames: number): Buffer {
  const head = Buffer.from("GIF89a\0\0\0\0\x80\0\0\0\0\0\xff\xff\xff", "latin1");
  const size = Buffer.alloc(4);
  size.writeUInt16LE(width, 0);
  size.writeUInt16LE(height, 2);
  size.copy(head, 6);
  const frame = Buffer.concat([Buffer.from([0x2c, 0, 0, 0, 0]), size, Buffer.from([0, 2, 2, 0x4c, 1, 0])]);
  return Buffer.concat([head, ...Array.from({ length: frames }, () => frame), Buffer.from([0x3b])]);
}

describe("what is no picture", () => {
  const html = "\n <html><body>Not found</body></html>";
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>';
  const cases: [name: string, bytes: Uint8Array, message: RegExp][] = [
    ["zero bytes", new Uint8Array(), /got no bytes at all/],
    ["one byte", new Uint8Array([0xff]), /got bytes that begin with/],
    ["a text", Buffer.from("just a text"), /begin with "just a text"/],
    ["a page of HTML", Buffer.from(html), /got SVG, HTML or other markup/],
    ["an SVG", Buffer.from(svg), /got SVG, HTML or other markup/],
    ["an SVG with a declaration", Buffer.from(`\ufeff<?xml version="1.0"?>${svg}`), /got SVG, HTML or other markup/],
    ["a zipped SVG", gzipSync(svg), /got bytes that begin with/],
    ["a PDF", Buffer.from("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj"), /got a PDF document/],
    ["a BMP", Buffer.from("BM\0\0\0\0"), /got a BMP picture/],
    ["a video", Buffer.from("\0\0\0\x18ftypmp42\0\0\0\0"), /got a file of kind "mp42"/],
    ["only a JPEG's beginning", Buffer.from([0xff, 0xd8, 0xff]), /cannot be decoded/],
    ["only a PNG's beginning", Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), /cannot be decoded/],
    ["a WebP's beginning, then an SVG", Buffer.from(`RIFF\0\0\0\0WEBP${svg}`), /cannot be decoded/],
  ];
  for (const [name, bytes, message] of cases) {
    test(name, () => rejects(bytes, "IMAGE_INVALID", message));
  }
});

describe("truncated files", () => {
  for (const name of ["subsampled-420.jpg", "progressive.jpg", "cmyk.jpg", "exif-3.jpg", "exif-6.jpg"]) {
    test(name, async () => {
      const bytes = await fixture(name);
      const cuts = [bytes.length - 2, bytes.length - 200, ...[0.9, 0.5, 0.1, 0.02].map((part) => part * bytes.length)];
      for (const recipe of [TINY, LARGE]) {
        for (const cut of cuts) await rejects(bytes.subarray(0, cut), "IMAGE_INVALID", /cannot be decoded/, recipe);
      }
    });
  }

  test("a tall JPEG that lacks only what lies below the crop, upright and turned", async () => {
    for (const orientation of [1, 3, 5, 6, 8]) {
      const bytes = await gradient(300, 1200).withMetadata({ orientation }).jpeg().toBuffer();
      await decodeImage(bytes, LARGE);
      await rejects(bytes.subarray(0, 0.95 * bytes.length), "IMAGE_INVALID", /cannot be decoded/, LARGE);
    }
  });

  test("PNG, but for its empty end chunk", async () => {
    for (const name of ["small.png", "palette.png", "grey-16-bit.png"]) {
      const bytes = await fixture(name);
      for (const cut of [bytes.length - 20, ...[0.9, 0.5, 0.1].map((part) => part * bytes.length)]) {
        await rejects(bytes.subarray(0, cut), "IMAGE_INVALID", /cannot be decoded/);
      }
    }
  });

  test("GIF, WebP, AVIF, TIFF, plain and packed", async () => {
    const picture = gradient(120, 90);
    const whole = await Promise.all([
      picture.clone().gif().toBuffer(),
      picture.clone().webp().toBuffer(),
      picture.clone().avif({ effort: 0 }).toBuffer(),
      picture.clone().tiff({ compression: "none" }).toBuffer(),
      picture.clone().tiff({ compression: "lzw" }).toBuffer(),
    ]);
    for (const bytes of whole) {
      assert.equal((await decodeImage(bytes, TINY)).length, 32 * 32 * 3);
      for (const part of [0.9, 0.5, 0.1]) await rejects(bytes.subarray(0, part * bytes.length), "IMAGE_INVALID");
    }
  });

  test("harmless oddities pass: bytes after the end, bytes between segments, a broken EXIF", async () => {
    const bytes = await fixture("subsampled-420.jpg");
    const scan = bytes.indexOf(Buffer.from([0xff, 0xda]));
    const exif = Buffer.from("\xff\xe1\x00\x0cExif\0\0zzzz", "latin1");
    const expected = await decodeImage(bytes, TINY);
    for (const odd of [
      [bytes, Buffer.from("trailing")],
      [bytes.subarray(0, scan), Buffer.from([1, 2, 3]), bytes.subarray(scan)],
      [bytes.subarray(0, 2), exif, bytes.subarray(2)],
    ]) {
      assert.deepEqual(await decodeImage(Buffer.concat(odd), TINY), expected);
    }
  });
});

describe("too large, told by the header", () => {
  test("a PNG bomb: some bytes that say 60,000 × 60,000", () =>
    rejects(png(60_000, 60_000, new Uint8Array(1000)), "IMAGE_TOO_LARGE", /at most 50 megapixels, got 60000 × 60000/));
  test("just over the limit, and just under it", async () => {
    await rejects(png(10_000, 5001, new Uint8Array(0)), "IMAGE_TOO_LARGE");
    await rejects(png(10_000, 5000, new Uint8Array(0)), "IMAGE_INVALID", /cannot be decoded/);
  });
  test("an animation whose frames together are too large", async () => {
    await rejects(gif(5000, 5000, 3), "IMAGE_TOO_LARGE", /got 5000 × 5000, 3 frames/);
    assert.equal((await decodeImage(gif(1, 1, 3), TINY)).length, 32 * 32 * 3);
  });
});
