import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type DataType,
  Dictionary,
  Field,
  Int8,
  List,
  makeData,
  Null,
  Schema,
  Table,
  tableToIPC,
  Utf8,
  Vector,
  vectorFromArray,
} from "apache-arrow";
import fc from "fast-check";
import { LabelmillError } from "../../../../src/errors.ts";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import { FlatTable } from "../../../../src/sources/arrow/flatbuffer.ts";
import { decompressLz4Frame } from "../../../../src/sources/bytes/lz4.ts";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import type { SourceRecord } from "../../../../src/sources/source.ts";
import { ownFiles } from "../../../helpers/files.ts";
import { AUTO, NEVER, readSplits, recordsOf, splitsOf } from "../../../helpers/inputs/read-source.ts";

const FIXTURES = fileURLToPath(new URL("../../../fixtures/arrow/", import.meta.url));

const file = await ownFiles();

function fixture(name: string): Promise<Buffer> {
  return readFile(join(FIXTURES, name));
}

/** All records. Those of the whole input and those of its splits must be the same. */
async function readAll(path: string, read: Partial<ReadOptions> = {}): Promise<SourceRecord[]> {
  const source = await openTextSource(path, { ...AUTO, ...read });
  const records = await recordsOf(source);
  assert.deepEqual(await readSplits(await splitsOf(source, { items: 7 })), records);
  return records;
}

const KEPT = ["kind"];
const KINDS = ["struct", "map", "list", "categories", "view_text", "decimal128", "fixed_list", "large_list"];

test("damaged files of any form give rows or an error with a code, quickly", async () => {
  const originals = new Map<string, Buffer>();
  for (const name of [
    "stream.arrows",
    "file.arrow",
    "lz4.arrow",
    "zstd.arrows",
    "kinds.arrows",
    "kinds.arrow",
    "deltas.arrows",
  ])
    originals.set(name, await fixture(name));
  const path = await file("damaged", "");
  const share = fc.integer({ min: 0, max: 999_999 }).map((part) => part / 1_000_000);
  const change = fc.record({
    name: fc.constantFrom(...originals.keys()),
    places: fc.array(
      fc.record({
        at: share,
        value: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 })),
        length: fc.constantFrom(1, 1, 2, 4, 8),
      }),
      { minLength: 1, maxLength: 4 },
    ),
    cut: fc.oneof({ weight: 6, arbitrary: fc.constant(undefined) }, share),
  });
  let [read, refused] = [0, 0];
  await fc.assert(
    fc.asyncProperty(change, async ({ name, places, cut }) => {
      const bytes = Buffer.from(originals.get(name)!);
      for (const { at, value, length } of places) {
        const start = Math.floor(at * bytes.length);
        bytes.fill(value, start, Math.min(start + length, bytes.length));
      }
      await writeFile(path, cut === undefined ? bytes : bytes.subarray(0, Math.max(1, Math.floor(cut * bytes.length))));
      const keep = name.startsWith("kinds") ? KINDS : name.startsWith("deltas") ? ["n"] : KEPT;
      try {
        const source = await openTextSource(path, { ...AUTO, format: "arrow", column: "text", keep });
        for await (const { split } of source.splitter!.cuts(
          { record: 0 },
          () => ({ items: 50, bytes: 1e6 }),
          undefined,
        )) {
          // A damaged batch may state any number of rows: it is enough to read a few.
          const { first, count } = split;
          const part = { ...split, count: Math.min(count, 100), first };
          for await (const _ of readSplit(part, "text-classification", namedFile(path), NEVER)) read++;
          if (first > 1000) break;
        }
      } catch (error) {
        assert.ok(error instanceof LabelmillError, `${name}: ${(error as Error).stack}`);
        assert.match(error.code, /^(INPUT_UNREADABLE|INPUT_CODEC|INPUT_EMPTY|INPUT_CHANGED|COLUMN_NOT_FOUND)$/);
        refused++;
      }
    }),
    { numRuns: 800 },
  );
  assert.ok(read > 1000 && refused > 200, `${read} rows, ${refused} refused`);
});

test("a stream or file that is cut off at any byte is refused when it is opened", async () => {
  for (const name of ["stream.arrows", "file.arrow"]) {
    const bytes = await fixture(name);
    const path = await file("cut", "");
    for (let length = 8; length < bytes.length; length += name === "file.arrow" ? 97 : 8) {
      await writeFile(path, bytes.subarray(0, length));
      await assert.rejects(
        openTextSource(path, { ...AUTO, format: "arrow" }),
        { code: "INPUT_UNREADABLE" },
        `${name} ${length}`,
      );
    }
  }
  const two = await fixture("stream.arrows");
  const path = await file("two.arrows", Buffer.concat([two, two]));
  await assert.rejects(openTextSource(path, AUTO), {
    code: "INPUT_UNREADABLE",
    message: /its stream ends at byte \d+, but \d+ bytes follow/,
  });
});

test("the sizes and offsets of a message are not trusted", async () => {
  const stream = await fixture("stream.arrows");
  const huge = (at: number, value: number) => {
    const bytes = Buffer.from(stream);
    bytes.writeInt32LE(value, at);
    return bytes;
  };
  for (const [bytes, message] of [
    [huge(4, 0x7fff_ffff), /expected at most 16777216 bytes of metadata/],
    [huge(4, -5), /expected at most 16777216 bytes of metadata/],
    [huge(4, 0x00ff_ffff), /the end is missing/],
    [huge(0, 100), /expected an Arrow file \(ARROW1\) or stream, got bytes 64000000/],
    [huge(8, 0x00ff_ffff), /is invalid: an offset leads to byte/],
    [Buffer.from("1f8b0800", "hex"), /got gzip data: decompress it/],
    [Buffer.concat([stream.subarray(0, 8), Buffer.alloc(stream.readInt32LE(4))]), /is invalid/],
  ] as const) {
    const path = await file("a.arrow", bytes);
    await assert.rejects(openTextSource(path, AUTO), { code: "INPUT_UNREADABLE", message });
  }
});

test("a compressed buffer with a huge or wrong size is refused before it is decompressed", async () => {
  const zstd = await fixture("zstd.arrows");
  const frame = zstd.indexOf(Buffer.from("28b52ffd", "hex"));
  for (const [size, message] of [
    [2n ** 40n, /expected at most 536870912 uncompressed bytes, got 1099511627776/],
    [-2n, /expected at most 536870912 uncompressed bytes/],
    [8n, /cannot be decompressed|has 8 bytes, but its batch needs/],
    [400n * 2n ** 20n, /cannot be decompressed, the file is corrupt there/],
  ] as const) {
    const bytes = Buffer.from(zstd);
    for (let at = frame; at >= 0; at = bytes.indexOf(Buffer.from("28b52ffd", "hex"), at + 4))
      bytes.writeBigInt64LE(size, at - 8);
    const path = await file("a.arrows", bytes);
    await assert.rejects(readAll(path, { idColumn: "id" }), { code: "INPUT_UNREADABLE", message });
  }
});

test("decompressing an LZ4 frame never writes beyond the given length, and errors say what is wrong", async () => {
  const header = Buffer.from("04224d18604082", "hex");
  const block = (bytes: number[]) => Buffer.concat([uint32(bytes.length), Buffer.from(bytes)]);
  const frame = (...blocks: Buffer[]) => Buffer.concat([header, ...blocks, uint32(0)]);
  // One literal, then a match that repeats it 4 + 15 + 255 + 10 times.
  const long = block([0x1f, 65, 1, 0, 255, 10]);
  assert.equal((await decompressLz4Frame(frame(long), 285)).toString(), "A".repeat(285));
  for (const [packed, length, message] of [
    [frame(long), 284, /more than the expected 284 bytes/],
    [frame(long), 286, /expected 286 bytes in the LZ4 frame, got 285/],
    [frame(block([0x1f, 65, 2, 0, 255, 10])), 285, /a match 2 bytes back/],
    [frame(block([0x11, 65, 0, 0])), 285, /a match 0 bytes back/],
    [frame(block([0xf0, 255, 255])), 600, /a length extends beyond its block/],
    [frame(block([0x50, 65])), 5, /literals extend beyond their block/],
    [frame(block([0x10, 65, 1])), 5, /ends within a match/],
    [Buffer.concat([header, uint32(100)]), 5, /is cut off/],
    [Buffer.from("28b52ffd00000000", "hex"), 5, /expected an LZ4 frame/],
    [Buffer.alloc(3), 5, /expected an LZ4 frame/],
    [header, 5, /range|cut off/],
  ] as const)
    await assert.rejects(decompressLz4Frame(packed, length), { message });
  // Stored uncompressed.
  const stored = Buffer.concat([header, uint32(0x8000_0003), Buffer.from("abc"), uint32(0)]);
  assert.equal((await decompressLz4Frame(stored, 3)).toString(), "abc");
});

test("a dictionary with repeated values does not make a slice too large", async () => {
  const rows = 5000;
  const dictionary = vectorFromArray(["x".repeat(900_000), "y"], new Utf8());
  const type = new Dictionary(new Utf8(), new Int8(), 1);
  const data = makeData({ type, length: rows, nullCount: 0, data: new Int8Array(rows), dictionary });
  const path = await file("bomb.arrow", tableToIPC(new Table({ text: new Vector([data]) }), "stream"));
  const source = await openTextSource(path, AUTO);
  const cuts = source.splitter!.cuts({ record: 0 }, () => ({ items: 20_000, bytes: 8e6 }), undefined);
  for await (const { split } of cuts) {
    assert.ok(split.count <= 9, `${split.count} texts of 900,000 characters`);
    if (split.first > 100) break;
  }
  const [first] = await Array.fromAsync(
    readSplit({ ...(await nextCut(source)), count: 1 }, "text-classification", namedFile(path), NEVER),
  );
  assert.equal(first!.text!.length, 900_000);
});

async function nextCut(source: Awaited<ReturnType<typeof openTextSource>>) {
  for await (const { split } of source.splitter!.cuts({ record: 0 }, () => ({ items: 5, bytes: 8e6 }), undefined))
    return split;
  throw new Error("no cut");
}

test("a value that expands to too many bytes costs its own row and no memory", async () => {
  const many = 2 ** 31 - 1;
  const nothing = new List(new Field("item", new Null(), true));
  const child = makeData({ type: new Null(), length: many });
  const nulls = makeData({ type: nothing, length: 2, nullCount: 0, valueOffsets: Int32Array.of(0, many, many), child });
  const words = vectorFromArray(["x".repeat(500_000)], new Utf8());
  const keys = new Dictionary(new Utf8(), new Int8(), 1);
  const same = makeData({ type: keys, length: 1000, nullCount: 0, data: new Int8Array(1000), dictionary: words });
  const list = new List(new Field("item", keys, true));
  const repeated = makeData({
    type: list,
    length: 2,
    nullCount: 0,
    valueOffsets: Int32Array.of(0, 1000, 1000),
    child: same,
  });
  const text = vectorFromArray(["a", "b"], new Utf8());
  const table = new Table({ text, nulls: new Vector([nulls]), repeated: new Vector([repeated]) });
  const path = await file("repeats.arrow", tableToIPC(table, "stream"));
  for (const column of ["nulls", "repeated"]) {
    const records = await readAll(path, { keep: [column] });
    assert.deepEqual(
      records.map(({ text, input, error }) => [text, input, error?.code, error?.message]),
      [
        [undefined, undefined, "RECORD_TOO_LARGE", `row 0: column "${column}" is too long to be kept`],
        ["b", { [column]: [] }, undefined, undefined],
      ],
    );
  }
});

test("offsets that are out of order fail only the columns that use them", async () => {
  const bytes = await fixture("kinds.arrows");
  const offsets = bytes.indexOf(Buffer.from(new BigInt64Array([0n, 2n, 4n, 6n, 8n, 8n, 10n]).buffer));
  assert.ok(offsets > 0);
  bytes.writeBigInt64LE(2n ** 40n, offsets + 8);
  const path = await file("lists.arrows", bytes);
  const message =
    /rows 0 to 9 cannot be read, the file is corrupt there: expected an offset of at least 1099511627776, got 4/;
  await assert.rejects(readAll(path, { keep: ["large_list"] }), { code: "INPUT_UNREADABLE", message });
  assert.equal((await readAll(path, { keep: ["list"] })).length, 10);
});

test("a dictionary of too many values is refused, even if they have no bytes", async () => {
  const values = makeData({ type: new Null(), length: 2 ** 31 - 1 });
  const type = new Dictionary(new Null(), new Int8(), 1);
  const data = makeData({ type, length: 2, nullCount: 0, data: new Int8Array(2), dictionary: new Vector([values]) });
  const text = vectorFromArray(["a", "b"], new Utf8());
  const path = await file("nulls.arrow", tableToIPC(new Table({ text, nothing: new Vector([data]) }), "stream"));
  const message = /dictionary 1: expected at most 16777216 values: write the file without dictionaries/;
  await assert.rejects(readAll(path, { keep: ["nothing"] }), { code: "INPUT_UNREADABLE", message });
  assert.equal((await readAll(path)).length, 2);
});

test("a batch with too many rows without bytes is refused", async () => {
  const table = (length: number) => new Table({ text: new Vector([makeData({ type: new Null(), length })]) });
  const few = await readAll(await file("few.arrow", tableToIPC(table(1000), "stream")));
  assert.deepEqual([few.length, few[0]!.error!.code], [1000, "RECORD_INVALID"]);
  const path = await file("many.arrow", tableToIPC(table(2 ** 31 - 1), "stream"));
  const message = /expected more bytes for 2147483647 rows, got 0/;
  await assert.rejects(readAll(path), { code: "INPUT_UNREADABLE", message });
});

test("a schema that nests without end, or repeats tables too often, is refused", async () => {
  let type: DataType = new Utf8();
  for (let depth = 0; depth < 80; depth++) type = new List(new Field("item", type, true));
  const schema = new Schema([new Field("text", new Utf8(), true), new Field("deep", type, true)]);
  const path = await file("deep.arrow", tableToIPC(new Table(schema), "stream"));
  const message = /is invalid: tables nest deeper than 64/;
  await assert.rejects(openTextSource(path, AUTO), { code: "INPUT_UNREADABLE", message });

  // Each table refers a hundred times to the next one, over ten levels: 100^10 references in 4 kB.
  const [levels, times] = [10, 100];
  const size = 12 + 4 + 4 + 4 * times;
  const bytes = Buffer.alloc(4 + levels * size + size);
  bytes.writeUInt32LE(4 + 8);
  for (let level = 0; level < levels; level++) {
    const at = 4 + level * size;
    bytes.writeUInt16LE(6, at);
    bytes.writeUInt16LE(8, at + 2);
    bytes.writeUInt16LE(4, at + 4);
    const table = at + 8;
    bytes.writeInt32LE(8, table);
    bytes.writeUInt32LE(4, table + 4);
    bytes.writeUInt32LE(times, table + 8);
    for (let index = 0; index < times; index++) {
      const slot = table + 12 + 4 * index;
      bytes.writeUInt32LE(Math.max(0, table + size - slot), slot);
    }
  }
  const walk = (table: FlatTable): void => {
    for (const inner of table.tables(0)) walk(inner);
  };
  assert.throws(() => walk(FlatTable.root(bytes)), { message: "expected at most 100000 tables" });
});

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
