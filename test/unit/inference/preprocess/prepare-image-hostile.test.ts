import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { deflateSync, gzipSync } from "node:zlib";
import { decodeImage } from "../../../../src/inference/preprocess/image/decode-image.ts";
import { avifGrid } from "../../../helpers/inputs/avif-grid.ts";
import { fixture, gradient, LARGE, png, pngChunk, rejects, TINY } from "../../../helpers/inputs/images.ts";
import { pages } from "../../../helpers/inputs/tiff.ts";

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

describe("not an image", () => {
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

  test("a tall JPEG that lacks only rows below the crop, upright and rotated", async () => {
    for (const orientation of [1, 3, 5, 6, 8]) {
      const bytes = await gradient(300, 1200).withMetadata({ orientation }).jpeg().toBuffer();
      await decodeImage(bytes, LARGE);
      await rejects(bytes.subarray(0, 0.95 * bytes.length), "IMAGE_INVALID", /cannot be decoded/, LARGE);
    }
  });

  test("PNG, except for its empty end chunk", async () => {
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

  test("harmless defects pass: bytes after the end, bytes between segments, a broken EXIF", async () => {
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

describe("too large according to the header", () => {
  test("a PNG bomb: a few bytes with a size of 60,000 × 60,000", () =>
    rejects(png(60_000, 60_000, new Uint8Array(1000)), "IMAGE_TOO_LARGE", /at most 50 megapixels, got 60000 × 60000/));
  test("just over the limit, and just under it", async () => {
    await rejects(png(10_000, 5001, new Uint8Array(0)), "IMAGE_TOO_LARGE");
    await rejects(png(10_000, 5000, new Uint8Array(0)), "IMAGE_INVALID", /cannot be decoded/);
  });
  test("sides over 65,535 pixels, even with few pixels", async () => {
    await rejects(png(1, 65_536, new Uint8Array(0)), "IMAGE_TOO_LARGE", /sides of at most 65535 pixels, got 1 × 65536/);
    await rejects(png(50_000_000, 1, new Uint8Array(0)), "IMAGE_TOO_LARGE", /got 50000000 × 1/);
  });
  test("an image that the resize would make too large", async () => {
    const after = /at most 65535 pixels a side and 50 megapixels after the resize/;
    await rejects(png(1, 2049, new Uint8Array(0)), "IMAGE_TOO_LARGE", after);
    await rejects(png(2049, 1, new Uint8Array(0)), "IMAGE_TOO_LARGE", /got 65568 × 32 from 2049 × 1/);
    const huge = { ...LARGE, resize: { kind: "shortest-edge", edge: 4096 } } as const;
    await rejects(png(10, 30, new Uint8Array(0)), "IMAGE_TOO_LARGE", /got 4096 × 12288 from 10 × 30/, huge);
    assert.equal((await decodeImage(await gradient(1, 2047).png().toBuffer(), TINY)).length, 32 * 32 * 3);
  });
  test("an animation whose frames together are too large", async () => {
    await rejects(gif(5000, 5000, 3), "IMAGE_TOO_LARGE", /got 5000 × 5000, 3 frames/);
    assert.equal((await decodeImage(gif(1, 1, 3), TINY)).length, 32 * 32 * 3);
  });
});

/** A grey progressive JPEG without detail, with one scan for each bit of a coefficient: 14 scans for each coefficient. */
function manyScans(side: number, coefficients: number): Buffer {
  const segment = (marker: number, ...data: number[]) => [0xff, marker, 0, data.length + 2, ...data];
  // One code of one bit: "no difference" in the first table, "nothing in the next 16,384 or more blocks" in the second.
  const table = (kind: number, symbol: number) => segment(0xc4, kind << 4, 1, ...new Array(15).fill(0), symbol);
  const blocks = Math.ceil(side / 8) ** 2;
  const bits = (text: string) => {
    const bytes = text.padEnd(Math.ceil(text.length / 8) * 8, "1").match(/.{8}/g)!;
    return bytes.map((byte) => Number.parseInt(byte, 2)).flatMap((byte) => (byte === 0xff ? [byte, 0] : [byte]));
  };
  const empty = bits(`0${"0".repeat(14)}`.repeat(Math.ceil(blocks / 16_384)));
  const scan = (coefficient: number, from: number, to: number) =>
    segment(0xda, 1, 1, 0, coefficient, coefficient, (from << 4) | to);
  const file = [
    ...[0xff, 0xd8, ...segment(0xdb, 0, ...new Array(64).fill(1))],
    ...segment(0xc2, 8, side >> 8, side & 255, side >> 8, side & 255, 1, 1, 0x11, 0),
    ...[...table(0, 0), ...table(1, 0xe0), ...scan(0, 0, 0), ...bits("0".repeat(blocks))],
  ];
  for (let at = 1; at <= coefficients; at++) {
    file.push(...scan(at, 0, 13), ...empty);
    for (let to = 12; to >= 0; to--) file.push(...scan(at, to + 1, to), ...empty);
  }
  return Buffer.from([...file, 0xff, 0xd9]);
}

/** A WebP animation of `frames` frames of one pixel. */
async function webp(frames: number): Promise<Buffer> {
  const pixel = (await gradient(1, 1).webp({ lossless: true }).toBuffer()).subarray(12);
  const chunk = (name: string, data: Uint8Array) => {
    const head = Buffer.from(`${name}\0\0\0\0`, "latin1");
    head.writeUInt32LE(data.length, 4);
    return Buffer.concat([head, data]);
  };
  const frame = chunk("ANMF", Buffer.concat([Buffer.alloc(16), pixel]));
  const head = [chunk("VP8X", Buffer.from([2, ...new Array(9).fill(0)])), chunk("ANIM", Buffer.alloc(6))];
  const body = Buffer.concat([Buffer.from("WEBP"), ...head, ...Array.from({ length: frames }, () => frame)]);
  return chunk("RIFF", body);
}

describe("too many parts, counted before a decoder walks through them", () => {
  test("frames of a GIF, also in tiny sub-blocks", async () => {
    await decodeImage(gif(1, 1, 10_000), TINY);
    await rejects(gif(1, 1, 10_001), "IMAGE_TOO_LARGE", /at most 10,000 frames in the file, got more/);
    const piece = Buffer.from([1, 0x61]);
    const comment = Buffer.concat([Buffer.from([0x21, 0xfe]), ...new Array(1_000_001).fill(piece), Buffer.from([0])]);
    const whole = gif(1, 1, 1);
    const file = Buffer.concat([whole.subarray(0, 19), comment, whole.subarray(19)]);
    await rejects(file, "IMAGE_TOO_LARGE", /at most 1,000,000 blocks/);
  });

  test("bytes after the end of a file are not counted", async () => {
    const trailing = Buffer.alloc(2_000_000, 7);
    const ended = [gif(1, 1, 1), await webp(1), await fixture("subsampled-420.jpg")];
    for (const file of ended) await decodeImage(Buffer.concat([file, trailing]), TINY);
  });

  test("frames of a WebP, which take quadratic time", async () => {
    await decodeImage(await webp(100), TINY);
    await rejects(await webp(10_001), "IMAGE_TOO_LARGE", /at most 10,000 chunks/);
  });

  test("pages of a TIFF, also in a loop, and their entries", async () => {
    await decodeImage(pages(1000), TINY);
    await rejects(pages(10_001), "IMAGE_TOO_LARGE", /at most 10,000 pages/);
    const loop = pages(2);
    // The second page's next page is the first one.
    loop.writeUInt32LE(8, loop.length - 4);
    await rejects(loop, "IMAGE_TOO_LARGE", /at most 10,000 pages/);
    const wide = Buffer.concat([loop, Buffer.alloc(12 * 60_000)]);
    // A page of 60,000 entries whose next page is itself.
    wide.writeUInt16LE(60_000, 8);
    wide.writeUInt32LE(8, 8 + 2 + 12 * 60_000);
    await rejects(wide, "IMAGE_TOO_LARGE", /at most 1,000,000 entries/);
  });

  test("segments of a JPEG, before its pixels and between its scans", async () => {
    const file = await fixture("progressive.jpg");
    const empty = Buffer.from([0xff, 0xe1, 0, 2]);
    const between = file.indexOf(Buffer.from([0xff, 0xda]), file.indexOf(Buffer.from([0xff, 0xda])) + 2);
    for (const at of [2, between]) {
      const hostile = (count: number) =>
        Buffer.concat([file.subarray(0, at), ...new Array(count).fill(empty), file.subarray(at)]);
      await decodeImage(hostile(1000), TINY);
      await rejects(hostile(10_001), "IMAGE_TOO_LARGE", /at most 10,000 segments/);
    }
  });

  test("nothing is counted after the one scan of a JPEG that is not progressive", async () => {
    const file = await gradient(64, 64).jpeg().toBuffer();
    const scan = file.subarray(file.indexOf(Buffer.from([0xff, 0xda])), -2);
    const hostile = Buffer.concat([file.subarray(0, -2), ...new Array(101).fill(scan), file.subarray(-2)]);
    assert.deepEqual(await decodeImage(hostile, TINY), await decodeImage(file, TINY));
  });

  test("tiles of an AVIF, counting each as often as it is used, regardless of the size in the header", async () => {
    const tileSize = { width: 100, height: 80 };
    const tile = await gradient(100, 80).avif({ effort: 0 }).toBuffer();
    const four = avifGrid(tile, tileSize, 2, 2, { width: 200, height: 160 });
    const whole = { ...TINY, width: 200, height: 160, resize: null, crop: false };
    const pixels = await decodeImage(four, whole);
    const first = await decodeImage(tile, { ...whole, ...tileSize });
    for (const y of [0, 79]) {
      assert.deepEqual(pixels.subarray(y * 600, y * 600 + 300), first.subarray(y * 300, (y + 1) * 300));
    }
    // 250 tiles of a megapixel; the image shows one of them.
    const large = { width: 1000, height: 1000 };
    const largeTile = await gradient(16, 16).resize(1000, 1000).avif({ effort: 0 }).toBuffer();
    const hostile = avifGrid(largeTile, large, 10, 25, large);
    await rejects(
      hostile,
      "IMAGE_TOO_LARGE",
      /at most 200 megapixels of tiles, counting each as often as it is used, got 250/,
    );
    // The tile is the grid itself.
    const itself = Buffer.from(four);
    itself.writeUInt16BE(1, itself.indexOf("dimg") + 8);
    await rejects(itself, "IMAGE_TOO_LARGE", /got too many to count/);
  });

  test("scans of a JPEG, each of which visits all pixels", async () => {
    await decodeImage(manyScans(64, 7), TINY);
    await rejects(manyScans(64, 8), "IMAGE_TOO_LARGE", /at most 100 scans/);
  });
});

describe("metadata that expand to much more than their size", () => {
  const bomb = deflateSync(new Uint8Array(50_000_000));
  const text = (name: string, before: string): [string, Buffer] => [
    name,
    pngChunk(name, Buffer.concat([Buffer.from(before, "latin1"), bomb])),
  ];
  const cases = [text("iCCP", "x\0\0"), text("zTXt", "x\0\0"), text("iTXt", "XML:com.adobe.xmp\0\x01\0\0\0")];
  for (const [name, chunk] of cases) {
    test(`${name} of a PNG`, async () => {
      const file = await gradient(8, 8).png().toBuffer();
      // After the header.
      const hostile = Buffer.concat([file.subarray(0, 33), chunk, file.subarray(33)]);
      assert.deepEqual(await decodeImage(hostile, TINY), await decodeImage(file, TINY));
    });
  }
});
