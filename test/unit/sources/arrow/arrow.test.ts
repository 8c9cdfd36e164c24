import assert from "node:assert/strict";
import { copyFile, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Table, tableToIPC, vectorFromArray } from "apache-arrow";
import fc from "fast-check";
import { decodePlanned, encodePlanned } from "../../../../src/runs/ledger/codec.ts";
import type { Where } from "../../../../src/schemas/input.ts";
import { ItemSchema } from "../../../../src/schemas/item.ts";
import type { Split } from "../../../../src/schemas/split.ts";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { isSampled } from "../../../../src/sources/item/sample.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import type { SourceRecord } from "../../../../src/sources/source.ts";
import { AUTO, readSplits, recordsOf, splitsOf } from "../../../helpers/inputs/read-source.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

/** Made by `make.py` there: most have 90 rows in batches of 35. */
const FIXTURES = fileURLToPath(new URL("../../../fixtures/arrow/", import.meta.url));

async function textsOf(name: string): Promise<(string | undefined)[]> {
  const path = join(FIXTURES, name);
  const source = await openTextSource(path, AUTO);
  const records = await recordsOf(source);
  assert.deepEqual(await readSplits(await splitsOf(source, { items: 3 }), { place: namedFile(path) }), records);
  return records.map(({ text }) => text);
}

for (const name of ["stream.arrows", "file.arrow", "lz4.arrow", "zstd.arrows", "feather2.feather"])
  test(`${name}: every row in its order, with its number, id and kept column, and the same by splits`, async () => {
    const path = join(FIXTURES, name);
    const source = await openTextSource(path, { ...AUTO, idColumn: "id", keep: ["kind"] });
    assert.deepEqual([source.read.format, source.read.column, source.onlySplits], ["arrow", "text", undefined]);
    const records = await recordsOf(source);
    assert.equal(records.length, 90);
    for (const [index, record] of records.entries()) {
      ItemSchema.parse({ ...record, source: 0 });
      assert.equal(record.record, index);
      // More than a double can hold.
      assert.equal(record.id, String(2n ** 60n + BigInt(index)));
      if (index === 7) continue;
      const text = index % 10 === 0 ? `ünïcode ${index} 😀\nline two` : `a text of row ${index}`;
      assert.deepEqual([record.text, record.input], [text, { kind: index % 2 === 0 ? "even" : "odd" }]);
    }
    assert.deepEqual(records[7]!.error, {
      code: "RECORD_INVALID",
      message: 'row 7: expected a text in column "text", got null',
    });
    assert.deepEqual(await readSplits(await splitsOf(source, { items: 20 }), { place: namedFile(path) }), records);
  });

test("LZ4 blocks that refer to one another, and values longer than one of them", async () => {
  const texts = await textsOf("lz4-blocks.arrow");
  assert.deepEqual(
    texts.map((text) => text!.length),
    [150_000, 500, 60_000],
  );
  assert.equal(texts[0], texts[0]!.slice(0, 1000).repeat(150));
  assert.ok(texts[0]!.startsWith(texts[2]!));
});

test("dictionaries that grow by deltas or are replaced between batches", async () => {
  const texts = [
    "one",
    "zero",
    undefined,
    "zero",
    "three",
    "zero",
    undefined,
    "two",
    "five",
    "zero",
    undefined,
    "four",
  ];
  assert.deepEqual(await textsOf("deltas.arrow"), texts);
  assert.deepEqual(await textsOf("deltas.arrows"), [...texts, "new one", "new zero"]);
});

test("a split never spans batches whose dictionaries differ", async () => {
  const source = await openTextSource(join(FIXTURES, "deltas.arrows"), AUTO);
  const splits = await splitsOf(source, { items: 1000 });
  assert.deepEqual(
    splits.map(({ at }) => at.kind === "arrow" && [at.batches.length, at.dictionaries.length]),
    [
      [1, 1],
      [1, 2],
      [1, 3],
      [1, 1],
    ],
  );
  const unneeded = await splitsOf(await openTextSource(join(FIXTURES, "deltas.arrows"), { ...AUTO, column: "n" }), {
    items: 1000,
  });
  assert.deepEqual(
    unneeded.map(({ at }) => at.kind === "arrow" && [at.batches.length, at.dictionaries.length]),
    [[4, 0]],
  );
});

const KINDS: Record<string, [type: string, value: unknown]> = {
  none: ["string", null],
  i8: ["integer", -5],
  u8: ["integer", 250],
  i16: ["integer", -30000],
  u16: ["integer", 60000],
  i32: ["integer", -(2 ** 31)],
  u32: ["integer", 2 ** 32 - 1],
  i64: ["integer", String(-(2n ** 62n))],
  u64: ["integer", String(2n ** 64n - 1n)],
  f16: ["number", 0],
  f32: ["number", 0],
  // NaN.
  f64: ["number", null],
  flag: ["boolean", true],
  decimal32: ["number", -0.375],
  decimal64: ["number", 0],
  decimal128: ["string", "123456789012345678901234567890123456.12"],
  decimal256: ["string", "12345678901234567890123456789012345612000000000000000000.00"],
  date32: ["date", "1969-12-31"],
  date64: ["date", "2024-02-28"],
  time32: ["integer", 3_720_000],
  time64: ["integer", 3_720_000_007],
  seconds: ["datetime", "2024-01-02T03:04:05.000"],
  millis: ["datetime", "2024-01-02T03:04:05.678"],
  local: ["datetime", "2024-01-02T03:04:05.678901"],
  utc: ["timestamp", "2024-01-02T03:04:05.678901Z"],
  nanos: ["timestamp", "2024-01-02T03:04:05.678901234Z"],
  before: ["datetime", "1969-12-31T23:59:59.999999"],
  duration: ["integer", 0],
  bytes: ["string", "//44"],
  large_bytes: ["string", "//44"],
  view_bytes: ["string", "//44"],
  fixed_bytes: ["string", "abc"],
  large_text: ["string", "large 0"],
  view_text: ["string", "view 0 "],
  list: ["json", []],
  large_list: ["json", [0, null]],
  fixed_list: ["json", [0, 1]],
  struct: ["json", { x: 0, y: "p0", z: ["123456789012345678901234567890123456.12"] }],
  map: ["json", { a: 0, b: null }],
  category: ["string", "red"],
  categories: ["json", ["red", "blue"]],
};

for (const name of ["kinds.arrows", "kinds.arrow"])
  test(`${name}: kept columns of every type have their exact values`, async () => {
    const keep = Object.keys(KINDS);
    const source = await openTextSource(join(FIXTURES, name), { ...AUTO, keep });
    assert.deepEqual(source.columns, Object.fromEntries(keep.map((column) => [column, KINDS[column]![0]])));
    const records = await recordsOf(source);
    assert.deepEqual(records[0]!.input, Object.fromEntries(keep.map((column) => [column, KINDS[column]![1]])));
    const nulls = { ...Object.fromEntries(keep.map((column) => [column, null])), categories: [] };
    assert.deepEqual([records[4]!.input, records[9]!.input], [nulls, nulls]);
    const second = records[2]!.input!;
    assert.deepEqual(
      [second.f64, second.struct, second.list, second.view_text, second.f16],
      [
        0.1,
        { x: 2, y: null, z: second.struct && ["123456789012345678901234567890123456.12"] },
        ["t0", "t1"],
        "view 2 long long ",
        0.5,
      ],
    );
    assert.equal(records[1]!.input!.view_bytes, "longer than twelve bytes");
    assert.equal(records[1]!.input!.f64, null, "infinite");
  });

test("a type that is not read is refused by its name, where its column is asked for", async () => {
  const path = join(FIXTURES, "kinds.arrow");
  const message = /column "interval" has the type Interval, which is not supported/;
  await assert.rejects(openTextSource(path, { ...AUTO, keep: ["interval"] }), { code: "INPUT_UNREADABLE", message });
  await assert.rejects(openTextSource(path, { ...AUTO, column: "interval" }), { code: "INPUT_UNREADABLE", message });
});

test("what the library for JavaScript writes is read", async () => {
  await using folder = await temporaryFolder();
  const text = vectorFromArray(Array.from({ length: 40 }, (_, row) => (row === 3 ? null : `wrote ${row % 7}`)));
  for (const form of ["stream", "file"] as const) {
    const path = join(folder.path, `${form}.arrow`);
    await writeFile(path, tableToIPC(new Table({ text }), form));
    const records = await recordsOf(await openTextSource(path, AUTO));
    assert.deepEqual(
      records.map((record) => record.text),
      Array.from({ length: 40 }, (_, row) => (row === 3 ? undefined : `wrote ${row % 7}`)),
    );
  }
});

test("an input is Arrow by its name, by what is told, or by its first bytes; its columns are found by name", async () => {
  await using folder = await temporaryFolder();
  for (const [fixture, name, format] of [
    ["file.arrow", "a.ARROW", "auto"],
    ["file.arrow", "a.feather", "auto"],
    ["file.arrow", "a.ipc", "auto"],
    ["stream.arrows", "a.arrows", "auto"],
    ["stream.arrows", "a.arrow", "auto"],
    ["stream.arrows", "a.csv", "arrow"],
    ["stream.arrows", "a", "auto"],
    ["file.arrow", "a", "auto"],
  ] as const) {
    const path = join(folder.path, name);
    await copyFile(join(FIXTURES, fixture), path);
    assert.equal((await openTextSource(path, { ...AUTO, format })).read.format, "arrow", name);
    const images = await openImageSource(path, { ...AUTO, format, column: "kind" });
    const [first] = await recordsOf(images);
    assert.ok(first!.image!.endsWith("/even"), name);
    assert.deepEqual([first!.id, first!.input, images.onlySplits], ["even", { image: "even" }, undefined]);
  }
  await assert.rejects(openTextSource(join(FIXTURES, "file.arrow"), { ...AUTO, column: "txt" }), {
    code: "COLUMN_NOT_FOUND",
    message: /has no column "txt": the columns are "id", "text", "kind"; did you mean "text"/,
  });
  const stdin = { code: "INPUT_UNREADABLE", message: /standard input cannot be read as Arrow/ };
  await assert.rejects(openTextSource({ stdin: Readable.from([]) }, { ...AUTO, format: "arrow" }), stdin);
});

test("Feather's first version is refused with the fix, by any name", async () => {
  await using folder = await temporaryFolder();
  const other = join(folder.path, "unnamed");
  await copyFile(join(FIXTURES, "feather1.feather"), other);
  const message =
    /version 1 of Feather is not supported: write it again with pyarrow\.feather\.write_feather\(…, version=2\)/;
  for (const path of [other, join(FIXTURES, "feather1.feather")])
    await assert.rejects(openTextSource(path, AUTO), { code: "INPUT_UNREADABLE", message });
});

test("an input without rows is empty", async () => {
  await assert.rejects(openTextSource(join(FIXTURES, "empty.arrows"), AUTO), {
    code: "INPUT_EMPTY",
    message: /has no rows/,
  });
});

test("the splits of any room, filter and sample tile the rows, and their items are those of the whole", async () => {
  const options = fc.record({
    name: fc.constantFrom("stream.arrows", "lz4.arrow", "deltas.arrows"),
    items: fc.integer({ min: 1, max: 100 }),
    bytes: fc.integer({ min: 1, max: 3000 }),
    sample: fc.option(fc.constantFrom(0.05, 0.5, 0.9), { nil: undefined }),
    odd: fc.constantFrom("odd", "neither", undefined),
    keep: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(options, async ({ name, items, bytes, sample, odd, keep }) => {
      const path = join(FIXTURES, name);
      const deltas = name === "deltas.arrows";
      const column = deltas ? "text" : "kind";
      const where: Where[] = odd === undefined ? [] : [{ column, value: deltas ? "zero" : odd }];
      const source = await openTextSource(path, { ...AUTO, keep: keep ? [column] : [], where });
      const isItem = ({ record, skipped }: SourceRecord) =>
        !skipped && (sample === undefined || isSampled(source.input.uri, record, sample));
      const splits = await splitsOf(source, { items, bytes }, sample);
      let next = 0;
      for (const { first, count, selected = count } of splits) {
        assert.equal(first, next);
        assert.ok(selected <= items);
        next = first + count;
      }
      const records = await recordsOf(source);
      assert.equal(next, records.length);
      assert.deepEqual(await readSplits(splits, { place: namedFile(path) }), records.filter(isItem));
      const later = splits.at(-1)!;
      assert.deepEqual(
        await splitsOf(source, { items, bytes }, sample, { record: later.first }),
        [later],
        "goes on at a place",
      );
    }),
    { numRuns: 60 },
  );
});

test("the address of a split survives the ledger", () => {
  const at: Split["at"][] = [
    { kind: "arrow", batches: [8, 900], dictionaries: [400], skip: 3 },
    { kind: "arrow", batches: [8], dictionaries: [], pictures: true },
    { kind: "parquet" },
    { kind: "parquet", pictures: true },
  ];
  const input = { uri: "file:///a.arrow", size: 1, modifiedAt: null, hash: null };
  const splits = at.map((place): Split => ({ input, first: 0, count: 1, at: place, read: AUTO }));
  const ranges = splits.map(() => ({ input: 0, first: 0, count: 1 }));
  assert.deepEqual(decodePlanned(encodePlanned({ ranges, splits })).places, at);
});

test("a file that is not what it was fails the split, whatever is in its place", async () => {
  await using folder = await temporaryFolder();
  for (const name of ["stream.arrows", "lz4.arrow"]) {
    const path = join(folder.path, name);
    await copyFile(join(FIXTURES, name), path);
    const { atime, mtime } = await stat(path);
    const source = await openTextSource(path, AUTO);
    const [split] = await splitsOf(source, { items: 1000 });
    const isChanged = { code: "INPUT_CHANGED", message: /changed while it was read/ };
    for (const other of [
      await readFile(join(FIXTURES, "zstd.arrows")),
      (await readFile(path)).subarray(0, 1500),
      Buffer.from("a,b\n"),
    ]) {
      await writeFile(path, other);
      await utimes(path, atime, mtime);
      await assert.rejects(readSplits([split!], { place: namedFile(path) }), isChanged);
      await assert.rejects(recordsOf(source), isChanged);
      await assert.rejects(splitsOf(source, { items: 10 }), isChanged);
    }
  }
  // Planned by an input that is there, with more rows than it has.
  const there = join(FIXTURES, "stream.arrows");
  const [split] = await splitsOf(await openTextSource(there, AUTO), { items: 1000 });
  await assert.rejects(readSplits([{ ...split!, count: 91 }], { place: namedFile(there) }), {
    code: "INPUT_CHANGED",
    message: /rows 0 to 90 as planned, got batches that end at row 90/,
  });
});

test("a split reads the numbers that it is told alone, and stops by its signal", async () => {
  const path = join(FIXTURES, "zstd.arrows");
  const [split] = await splitsOf(await openTextSource(path, AUTO), { items: 1000 });
  const found = await readSplits([{ ...split!, only: [1, 40, 89] }], { place: namedFile(path) });
  assert.deepEqual(
    found.map(({ record }) => record),
    [1, 40, 89],
  );
  const stopped = Array.fromAsync(readSplit(split!, "text-classification", namedFile(path), AbortSignal.abort()));
  await assert.rejects(stopped, { name: "AbortError" });
});
