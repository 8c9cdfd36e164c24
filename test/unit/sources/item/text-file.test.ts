import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { MAX_TEXT_LENGTH } from "../../../../src/schemas/item.ts";
import { MAX_TEXT_FILE_BYTES, textOfFile } from "../../../../src/sources/item/text-file.ts";

const utf16 = (text: string, bigEndian = false) => {
  const bytes = Buffer.from(`\ufeff${text}`, "utf16le");
  return bigEndian ? bytes.swap16() : bytes;
};

test("a text file is UTF-8 or UTF-16 with a mark, also compressed; a byte order mark is no part of the text", async () => {
  const text = "Größe 😀\n二行\n";
  const files = {
    plain: Buffer.from(text),
    mark: Buffer.from(`\ufeff${text}`),
    "UTF-16": utf16(text),
    "UTF-16 BE": utf16(text, true),
    gzip: gzipSync(Buffer.from(text)),
    zstd: zstdCompressSync(utf16(text)),
  };
  for (const [name, bytes] of Object.entries(files)) assert.deepEqual(await textOfFile(bytes, name), { text }, name);
  assert.deepEqual(await textOfFile(new Uint8Array(), "empty"), { text: "" });
});

test("bytes that are not UTF-8 are replaced, and the text is marked as repaired", async () => {
  const found = await textOfFile(Buffer.from([0x61, 0xff, 0x62]), "x.txt");
  assert.deepEqual(found, { text: "a\ufffdb", repaired: true });
});

test("a file that is not text is INPUT_UNREADABLE with its kind and the fix", async () => {
  const files: [Uint8Array, RegExp][] = [
    [Buffer.from("%PDF-1.7 ..."), /^x: expected a file of text, got a PDF: extract its text/],
    [Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"), /got an image/],
    [Buffer.from("text without a mark", "utf16le"), /got NUL bytes/],
    [gzipSync(Buffer.from("%PDF-1.7 ...")), /got a PDF/],
    [gzipSync(Buffer.from("cut off")).subarray(0, 15), /^x: .*/],
  ];
  for (const [bytes, message] of files)
    await assert.rejects(textOfFile(bytes, "x"), { code: "INPUT_UNREADABLE", message });
});

test("a text has at most 1,000,000 UTF-16 units, however small its file is", async () => {
  const longest = "二".repeat(MAX_TEXT_LENGTH);
  assert.equal((await textOfFile(Buffer.from(longest), "x")).text.length, MAX_TEXT_LENGTH);
  assert.ok(Buffer.byteLength(`\ufeff${longest}`) <= MAX_TEXT_FILE_BYTES);
  const tooLarge = { code: "RECORD_TOO_LARGE", message: /^x: expected at most 1000000 UTF-16 units/ };
  await assert.rejects(textOfFile(Buffer.from(`${longest}a`), "x"), tooLarge);
  await assert.rejects(textOfFile(gzipSync(Buffer.alloc(2 ** 28)), "x"), tooLarge);
});
