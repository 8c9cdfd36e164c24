import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Readable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync, zstdCompressSync } from "node:zlib";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { ownFiles } from "../../../helpers/files.ts";
import { AUTO } from "../../../helpers/inputs/read-source.ts";
import { tarOf } from "../../../helpers/inputs/tar.ts";

const file = await ownFiles();

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function base64(text: string): Buffer {
  return Buffer.from(text, "base64");
}

function fixture(name: string): Promise<Buffer> {
  return readFile(fileURLToPath(new URL(`../../../fixtures/${name}`, import.meta.url)));
}

async function sqlite(): Promise<Buffer> {
  const path = join(dirname(await file("empty", "")), "x.db");
  const database = new DatabaseSync(path);
  database.exec("CREATE TABLE reviews (text TEXT); INSERT INTO reviews VALUES ('good'), ('bad')");
  database.close();
  return await readFile(path);
}

/** The header that DuckDB writes: a checksum, the letters, a version. */
const DUCKDB = "\x8b\x1c\xf2\x90\x11\xa0\x3e\xd1DUCK\x40\0\0\0\0\0\0\0";

const KINDS: [string, Buffer | (() => Promise<Buffer>), RegExp][] = [
  ["SQLite", sqlite, /an SQLite database: export/],
  ["Avro", latin1("Obj\x01\x04\x14avro.codec\x08null\x16avro.schema\x02{}"), /an Avro file: convert/],
  ["ORC", latin1("ORC\x08\x03\x10\x02text\ngood"), /an ORC file: convert/],
  ["DuckDB", latin1(DUCKDB), /a DuckDB database: export/],
  ["lzip", latin1("LZIP\x01\x0c\0\x3a"), /a lzip file: decompress/],
  ["encrypted Parquet", latin1("PARE\x2b\x01\0\0\x9a"), /an encrypted Parquet file: convert/],
  ["Feather V1", latin1("FEA1\x00\x00\x00\x00text"), /version 1 of Feather|a Feather V1 file: write it again/],
  ["PDF", latin1("%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"), /a PDF: extract/],
  [
    "zip (xlsx)",
    base64(
      "UEsDBBQAAAAIABdKfV1SFgeFCAAAAAYAAAAUAAAAeGwvc2hhcmVkU3RyaW5ncy54bWyzKS4u0bcDAFBLAQIUAxQAAAAIABdKfV1SFgeFCAAAAAYAAAAUAAAAAAAAAAAAAACAAQAAAAB4bC9zaGFyZWRTdHJpbmdzLnhtbFBLBQYAAAAAAQABAEIAAAA6AAAAAAA=",
    ),
    /a zip archive .*: unpack it; save a spreadsheet as CSV/,
  ],
  ["bzip2", base64("QlpoOTFBWSZTWVWJUdkAAAPBgAAQMgAEQCAAMMAGTaJYCNN4u5IpwoSCrEqOyA=="), /a bzip2 file: decompress/],
  [
    "xz",
    base64("/Td6WFoAAATm1rRGAgAhARYAAAB0L+WjAQAIdGV4dAphCmIKAAAAAPX+bZtNF7UkAAEhCWwYxdUftvN9AQAAAAAEWVo="),
    /an xz file: decompress/,
  ],
  ["7z", latin1("7z\xbc\xaf\x27\x1c\x00\x04"), /a 7z archive: unpack/],
  ["RAR", latin1("Rar!\x1a\x07\x01\x00"), /a RAR archive/],
  ["LZ4", latin1("\x04\x22\x4d\x18\x64\x40"), /an LZ4 file/],
  ["an old Office file", latin1("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00"), /an old Office document/],
  ["HDF5", latin1("\x89HDF\r\n\x1a\n\x00"), /an HDF5 file/],
  ["NumPy", latin1("\x93NUMPY\x01\x00"), /a NumPy array/],
  ["a pickle", latin1("\x80\x04\x95\x10\x00"), /a Python pickle/],
  ["tar", tarOf([{ name: "a.txt", content: "good\n" }]), /a tar archive/],
  ["PNG", () => fixture("images/small.png"), /an image: label it with `label images`/],
  ["JPEG", () => fixture("images/grey.jpg"), /an image/],
  ["GIF", () => fixture("images/animated.gif"), /an image/],
  ["XML", latin1('<?xml version="1.0"?>\n<a>\n'), /an XML document: convert .*--format lines/],
  ["HTML", latin1("\n<!DOCTYPE html>\n<p>\n"), /an HTML page/],
  ["NULs and nothing else that is known", latin1("BSON?\x00\x01\x02abc\xfe\n"), /NUL bytes.*--format/],
  ["UTF-16 without a mark", Buffer.from("good\nbad\n", "utf16le"), /UTF-16 or UTF-32 without.*UTF-8/],
  ["UTF-32", Buffer.concat([latin1("\xff\xfe\0\0g\0\0\0o\0\0\0\n\0\0\0")]), /UTF-16 or UTF-32/],
];

for (const [kind, made, message] of KINDS) {
  test(`${kind} is refused, compressed or not, under any name`, async () => {
    const bytes = Buffer.isBuffer(made) ? made : await made();
    for (const name of ["x.dat", "x", "x.txt", "x.csv", "x.jsonl", "x.json"]) {
      // By these names, the content is JSON or a table, and a NUL is an error of its row.
      for (const content of [bytes, gzipSync(bytes), zstdCompressSync(bytes)])
        await assert.rejects(openTextSource(await file(name, content), AUTO), { code: "INPUT_UNREADABLE", message });
    }
    const stdin = Readable.from([bytes]);
    await assert.rejects(openTextSource({ stdin }, AUTO), { code: "INPUT_UNREADABLE", message });
  });
}

test("compressed Parquet and doubly compressed data are refused", async () => {
  const parquet = await fixture("parquet/snappy.parquet");
  const packed = await file("x.gz", gzipSync(parquet));
  await assert.rejects(openTextSource(packed, AUTO), { code: "INPUT_UNREADABLE", message: /a Parquet file/ });
  for (const inner of [gzipSync("a\n"), zstdCompressSync("a\n")])
    await assert.rejects(openTextSource(await file("x.txt.gz", gzipSync(inner)), AUTO), {
      code: "INPUT_UNREADABLE",
      message: /data in compressed data: decompress it once/,
    });
});

test("a binary file is refused as a list of images too", async () => {
  const path = await file("list.csv", await sqlite());
  await assert.rejects(openImageSource(path, AUTO), { code: "INPUT_UNREADABLE", message: /SQLite/ });
});

test("a NUL in a recognised table, a file named as text, or a given format concerns only its row", async () => {
  const texts = async (name: string, content: string, read: Partial<ReadOptions> = {}) =>
    (await Array.fromAsync((await openTextSource(await file(name, content), { ...AUTO, ...read })).records())).map(
      ({ text, error }) => text ?? error!.code,
    );
  assert.deepEqual(await texts("x.csv", "id,text\n1,a\0b\n2,\0\n"), ["a\0b", "\0"]);
  assert.deepEqual(await texts("x.csv", "id,words\n1,a\0b\n", { column: "words" }), ["a\0b"]);
  assert.deepEqual(await texts("x", "id,text\n1,a\0b\n"), ["a\0b"]);
  assert.deepEqual(await texts("x.jsonl", '{"text":"a"}\n{"text":"a\0b"}\n'), ["a", "RECORD_INVALID"]);
  assert.deepEqual(await texts("x.txt", "a long line é\n\0\0\nb\n"), ["a long line é", "\0\0", "b"]);
  assert.deepEqual(await texts("x", "a\0b\nc\n", { format: "lines" }), ["a\0b", "c"]);
});

test("texts that begin with the letters of a binary file are accepted", async () => {
  for (const content of [
    "ORC is a format\n",
    "PAR1 was read\n",
    "FEA1\n",
    "GIF89 or not\n",
    "BZh91 is a name\n",
    "PK\n",
    "ARROW1 is a magic\n",
    "LZIP\n",
  ])
    for (const name of ["x.txt", "x"]) {
      const found = await Array.fromAsync((await openTextSource(await file(name, content), AUTO)).records());
      assert.deepEqual(
        found.map(({ text }) => `${text}\n`),
        [content],
      );
    }
});

test("tables that begin with the letters of a binary file are accepted, even with control characters", async () => {
  for (const name of ["PARENT_ID", "PAR1", "ORCHID", "ORC", "DUCK_IDSDUCKS", "FEA1", "LZIP", "GIF89a", "ARROW1", "BMI"])
    for (const control of ["\0", "\x01", "\x7f"]) {
      const path = await file("x.csv", `${name},text\n1,a${control}b\n`);
      const found = await Array.fromAsync((await openTextSource(path, AUTO)).records());
      assert.deepEqual(
        found.map(({ text }) => text),
        [`a${control}b`],
        name,
      );
    }
});

test("a text with the letters of a tar header is accepted", async () => {
  for (const word of ["ustar", "ustar\0", "ustar  \0"])
    for (const [name, head] of [
      ["x.csv", "id,text\n1,"],
      ["x.jsonl", '{"text":"'],
      ["x.txt", ""],
    ] as const) {
      // A string in JSON cannot contain a NUL.
      if (name === "x.jsonl" && word.includes("\0")) continue;
      const rest = name === "x.jsonl" ? '"}\n' : "\n";
      const content = head + "m".repeat(257 - head.length) + word + "d".repeat(400) + rest;
      const source = await openTextSource(await file(name, content), AUTO);
      assert.equal((await Array.fromAsync(source.records())).length, 1);
    }
});
