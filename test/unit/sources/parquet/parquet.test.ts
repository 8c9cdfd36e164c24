import assert from "node:assert/strict";
import { copyFile, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { parquetMetadata } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import type { Where } from "../../../../src/schemas/input.ts";
import { ItemSchema } from "../../../../src/schemas/item.ts";
import { ByteCache } from "../../../../src/sources/bytes/byte-cache.ts";
import { namedFile } from "../../../../src/sources/bytes/read-file.ts";
import { isSampled } from "../../../../src/sources/item/sample.ts";
import { openImageSource } from "../../../../src/sources/open-images.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";
import { readSplit } from "../../../../src/sources/read-split.ts";
import type { SourceRecord } from "../../../../src/sources/source.ts";
import { AUTO, readSplits, recordsOf, splitsOf } from "../../../helpers/inputs/read-source.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

/** Each has 90 rows in groups of 35. `snappy` has a column of each kind. */
const FIXTURES = fileURLToPath(new URL("../../../fixtures/parquet/", import.meta.url));

function fixture(codec: string): string {
  return join(FIXTURES, `${codec}.parquet`);
}

/** Writes a fixture that `change` modified to a folder. */
async function changed(folder: string, codec: string, change: (bytes: Buffer) => Buffer): Promise<string> {
  const path = join(folder, `${codec}.parquet`);
  await writeFile(path, change(await readFile(fixture(codec))));
  return path;
}

function replaceAll(bytes: Buffer, from: string, to: string): Buffer {
  const text = bytes.toString("latin1");
  assert.ok(text.includes(from));
  return Buffer.from(text.replaceAll(from, to), "latin1");
}

for (const codec of ["snappy", "gzip", "zstd", "brotli", "lz4", "none"])
  test(`${codec}: every row is read in order, with number, id and kept column`, async () => {
    const source = await openTextSource(fixture(codec), { ...AUTO, idColumn: "id", keep: ["kind"] });
    assert.deepEqual([source.read.format, source.read.column], ["parquet", "text"]);
    const records = await recordsOf(source);
    assert.equal(records.length, 90);
    for (const [index, record] of records.entries()) {
      ItemSchema.parse({ ...record, source: 0 });
      const kept = { kind: index % 2 === 0 ? "even" : "odd" };
      assert.equal(record.record, index);
      // More than a double can represent.
      assert.equal(record.id, String(2n ** 60n + BigInt(index)));
      if (index === 7) continue;
      const text = index % 10 === 0 ? `ünïcode ${index} 😀\nline two` : `a text of row ${index}`;
      assert.deepEqual([record.text, record.input], [text, kept]);
    }
    assert.deepEqual(records[7]!.error, {
      code: "RECORD_INVALID",
      message: 'row 7: expected a text in column "text", got null',
    });
  });

test("kept columns have the types of the schema, and values that JSON can represent", async () => {
  const keep = ["id", "flag", "small", "score", "price", "at", "day", "tags", "place", "raw", "kind"];
  const source = await openTextSource(fixture("snappy"), { ...AUTO, keep });
  assert.deepEqual(source.columns, {
    id: "integer",
    flag: "boolean",
    small: "integer",
    score: "number",
    price: "number",
    at: "timestamp",
    day: "date",
    tags: "json",
    place: "json",
    raw: "string",
    kind: "string",
  });
  const records = await recordsOf(source);
  assert.deepEqual(records[8], {
    record: 8,
    id: "snappy.parquet#8",
    text: "a text of row 8",
    input: {
      id: "1152921504606846984",
      flag: true,
      small: 8,
      score: 2,
      price: 0.24,
      at: "2024-01-02T03:04:05.678909Z",
      day: "2024-01-09",
      tags: ["t0", "t1"],
      place: { x: 8, y: "p8" },
      raw: Buffer.from([0xff, 0xfe, 0x38]).toString("base64"),
      kind: "even",
    },
  });
  const [second, third, fourth, fifth] = records.slice(2, 6).map(({ input }) => input!);
  assert.equal(second!.tags, null);
  assert.equal(third!.small, null);
  // NaN and infinity.
  assert.deepEqual([fourth!.score, fifth!.score], [null, null]);
});

test("decimals are exact, as digits if a double cannot represent them, and timestamps without a zone get none", async () => {
  const keep = ["long_decimal", "decimal", "int_decimal", "local", "utc"];
  const where = [{ column: "int_decimal", value: "-7" }];
  const source = await openTextSource(fixture("exact"), { ...AUTO, idColumn: "long_decimal", keep });
  assert.deepEqual(source.columns, {
    long_decimal: "string",
    decimal: "number",
    int_decimal: "number",
    local: "datetime",
    utc: "timestamp",
  });
  const records = await recordsOf(source);
  const long = "123456789012345678901234567890123456.12";
  assert.deepEqual(
    records.map(({ input }) => Object.values(input!)),
    [
      [long, 1234567890.12, 1234567.125, "2024-01-02T03:04:05.123456", "2024-01-02T03:04:05.123456Z"],
      ["-0.05", -0.05, -7, "1969-12-31T23:59:59.999999", null],
      [null, null, null, null, null],
    ],
  );
  assert.equal(records[0]!.id, long);
  const filtered = await recordsOf(await openTextSource(fixture("exact"), { ...AUTO, where }));
  assert.deepEqual(
    filtered.flatMap(({ skipped, record }) => (skipped ? [] : [record])),
    [1],
  );
});

for (const codec of ["snappy", "lz4"])
  test(`${codec}: a column of nulls is read, which has an empty dictionary`, async () => {
    const records = await recordsOf(await openTextSource(fixture(`nulls-${codec}`), { ...AUTO, keep: ["n"] }));
    assert.deepEqual(
      records.map(({ input }) => input),
      [{ n: null }, { n: null }],
    );
  });

test("two columns with the same name are refused if one of them is requested", async () => {
  const twice = { code: "COLUMN_AMBIGUOUS", message: /2 columns named "text" \(columns 1, 3\)/ };
  await assert.rejects(openTextSource(fixture("same-name"), AUTO), twice);
  await assert.rejects(openTextSource(fixture("same-name"), { ...AUTO, column: "n", keep: ["text"] }), twice);
  const [record] = await recordsOf(await openTextSource(fixture("same-name"), { ...AUTO, column: "n" }));
  assert.equal(record!.text, "x");
});

test("Parquet is detected by name, option or first bytes, and columns are found by name", async () => {
  await using folder = await temporaryFolder();
  for (const [name, format] of [
    ["a.PARQUET", "auto"],
    ["a.pq", "auto"],
    ["a.csv", "parquet"],
    ["a", "auto"],
  ] as const) {
    const path = join(folder.path, name);
    await copyFile(fixture("none"), path);
    assert.equal((await openTextSource(path, { ...AUTO, format })).read.format, "parquet", name);
    const images = await openImageSource(path, { ...AUTO, format, column: "kind" });
    const [first] = await recordsOf(images);
    assert.ok(first!.image!.endsWith("/even"), name);
    assert.deepEqual([first!.id, first!.input], ["even", { image: "even" }]);
  }
  const missing = {
    code: "COLUMN_NOT_FOUND",
    message: /has no column "txt": the columns are "id", "text", "kind"; did you mean "text"/,
  };
  await assert.rejects(openTextSource(fixture("none"), { ...AUTO, column: "txt" }), missing);
  await assert.rejects(openTextSource(fixture("none"), { ...AUTO, where: [{ column: "txt", value: "" }] }), missing);
  const stdin = { code: "INPUT_UNREADABLE", message: /standard input cannot be read as Parquet/ };
  await assert.rejects(openTextSource({ stdin: Readable.from([]) }, { ...AUTO, format: "parquet" }), stdin);
});

test("splits cover all rows without overlap for any size, filter and sample, and have the items of the whole input", async () => {
  const path = fixture("zstd");
  const options = fc.record({
    items: fc.integer({ min: 1, max: 100 }),
    bytes: fc.integer({ min: 1, max: 3000 }),
    sample: fc.option(fc.constantFrom(0.05, 0.5, 0.9), { nil: undefined }),
    where: fc.constantFrom<Where[][]>([], [{ column: "kind", value: "odd" }], [{ column: "kind", value: "neither" }]),
    keep: fc.constantFrom<string[][]>([], ["kind", "id"]),
  });
  await fc.assert(
    fc.asyncProperty(options, async ({ items, bytes, sample, where, keep }) => {
      const source = await openTextSource(path, { ...AUTO, keep, where });
      const isItem = ({ record, skipped }: SourceRecord) =>
        !skipped && (sample === undefined || isSampled(source.input.uri, record, sample));
      const splits = await splitsOf(source, { items, bytes }, sample);
      let next = 0;
      for (const { first, count, selected = count } of splits) {
        assert.equal(first, next);
        assert.ok(selected <= items);
        assert.ok(selected > 0 || first + count === 90, "only the last split may have no items");
        next = first + count;
      }
      assert.equal(next, 90);
      const found = await readSplits(splits, { place: namedFile(path) });
      assert.deepEqual(found, (await recordsOf(source)).filter(isItem));
      assert.equal(
        found.length,
        splits.reduce((sum, { count, selected = count }) => sum + selected, 0),
      );
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

test("a split reads only the given record numbers, and stops on its signal", async () => {
  const path = fixture("gzip");
  const [split] = await splitsOf(await openTextSource(path, AUTO), { items: 1000 });
  const found = await readSplits([{ ...split!, only: [1, 40, 89] }], { place: namedFile(path) });
  assert.deepEqual(
    found.map(({ record }) => record),
    [1, 40, 89],
  );
  const stopped = Array.fromAsync(readSplit(split!, "text-classification", namedFile(path), AbortSignal.abort()));
  await assert.rejects(stopped, { name: "AbortError" });
});

test("a changed, replaced or deleted file fails the split", async () => {
  await using folder = await temporaryFolder();
  const path = await changed(folder.path, "none", (bytes) => bytes);
  const { atime, mtime } = await stat(path);
  const source = await openTextSource(path, AUTO);
  const [split] = await splitsOf(source, { items: 1000 });
  const isChanged = { code: "INPUT_CHANGED", message: /none\.parquet changed while it was read/ };
  for (const other of [
    await readFile(fixture("zstd")),
    (await readFile(path)).subarray(0, 2000),
    Buffer.from("a,b\n"),
  ]) {
    await writeFile(path, other);
    await utimes(path, atime, mtime);
    await assert.rejects(readSplits([split!], { place: namedFile(path) }), isChanged);
    await assert.rejects(recordsOf(source), isChanged);
    await assert.rejects(splitsOf(source, { items: 10 }), isChanged);
  }
  // Planned with an existing input, but with more rows than it has.
  const there = (await openTextSource(fixture("none"), AUTO)).input;
  await assert.rejects(readSplits([{ ...split!, input: there, count: 91 }], { place: namedFile(fixture("none")) }), {
    code: "INPUT_CHANGED",
    message: /rows 0 to 90 .* got 90 rows/,
  });
});

test("a file that replaces one of the same name and size is read again", async () => {
  await using folder = await temporaryFolder();
  const path = await changed(folder.path, "none", (bytes) => bytes);
  const before = await recordsOf(await openTextSource(path, AUTO));
  const { text } = before[81]!;
  const other = text!.toUpperCase();
  await writeFile(path, replaceAll(await readFile(path), text!, other));
  await utimes(path, 0, 0);
  const source = await openTextSource(path, AUTO);
  assert.equal((await recordsOf(source))[81]!.text, other);
  assert.equal(
    (await readSplits(await splitsOf(source, { items: 1000 }), { place: namedFile(path) }))[81]!.text,
    other,
  );
});

test("an unreadable file is refused when it is opened, with its name", async () => {
  await using folder = await temporaryFolder();
  const footer = (length: number) => (bytes: Buffer) => {
    bytes.writeUInt32LE(length, bytes.length - 8);
    return bytes;
  };
  const codec = (number: string) => (bytes: Buffer) => replaceAll(bytes, "\x04text\x15\x0c", `\x04text\x15${number}`);
  for (const [name, change, code, message] of [
    [
      "zstd",
      codec("\x06"),
      "INPUT_CODEC",
      /column "text" in row group 0: expected one of the codecs SNAPPY.*, got LZO/,
    ],
    ["zstd", codec("\x12"), "INPUT_CODEC", /or none, got an unknown one/],
    ["none", (bytes) => bytes.subarray(0, -300), "INPUT_UNREADABLE", /expected PAR1 at the end .* cut off/],
    ["none", () => Buffer.from("PAR1"), "INPUT_UNREADABLE", /got 4 bytes/],
    ["none", (bytes) => replaceAll(bytes, "PAR1", "PARE"), "INPUT_UNREADABLE", /encrypted files are not supported/],
    ["none", footer(0xffff_ffff), "INPUT_UNREADABLE", /its footer has a length of 4294967295 bytes/],
    ["none", footer(7), "INPUT_UNREADABLE", /its footer is invalid/],
    [
      "none",
      (bytes) => bytes.subarray(200),
      "INPUT_UNREADABLE",
      /row group \d has \d+ bytes at byte .* not within the file/,
    ],
  ] as [string, (bytes: Buffer) => Buffer, string, RegExp][]) {
    const path = await changed(folder.path, name, change);
    await assert.rejects(openTextSource(path, AUTO), { code, message });
  }
  // The codec of a column that is not requested does not matter.
  const path = await changed(folder.path, "zstd", codec("\x06"));
  assert.equal((await recordsOf(await openTextSource(path, { ...AUTO, column: "kind" }))).length, 90);
  await assert.rejects(openTextSource(fixture("empty"), AUTO), { code: "INPUT_EMPTY", message: /has no rows/ });
});

test("a decimal with an extreme scale is refused, because all its digits would be written out", async () => {
  const writer = new ByteWriter();
  const decimal = {
    name: "price",
    type: "INT64",
    converted_type: "DECIMAL",
    scale: 2_000_000_000,
    precision: 18,
  } as const;
  const text = { name: "text", type: "BYTE_ARRAY", converted_type: "UTF8" } as const;
  const parquet = new ParquetWriter({ writer, schema: [{ name: "root", num_children: 2 }, text, decimal] });
  const columns = [
    { name: "text", data: ["a"] },
    { name: "price", data: [1n] },
  ];
  parquet.write({ columnData: columns });
  parquet.finish();
  await using folder = await temporaryFolder();
  const path = join(folder.path, "scale.parquet");
  await writeFile(path, writer.getBytes());
  const message = /column "price" has the type DECIMAL with a scale of 2000000000, which is not supported/;
  await assert.rejects(openTextSource(path, { ...AUTO, keep: ["price"] }), { code: "INPUT_UNREADABLE", message });
  assert.equal((await recordsOf(await openTextSource(path, AUTO))).length, 1);
});

test("a footer over 64 MB is refused", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "big.parquet");
  const bytes = Buffer.alloc((64 << 20) + 100);
  bytes.write("PAR1", bytes.length - 4);
  bytes.writeUInt32LE((64 << 20) + 1, bytes.length - 8);
  await writeFile(path, bytes);
  await assert.rejects(openTextSource(path, AUTO), { code: "INPUT_UNREADABLE", message: /at most 67108864 bytes/ });
});

test("a corrupt page fails only the splits that read it, with the column and the rows", async () => {
  await using folder = await temporaryFolder();
  for (const codec of ["snappy", "gzip", "zstd", "brotli", "lz4"]) {
    // The texts of the first row group.
    const path = await changed(folder.path, codec, (bytes) => {
      const { data_page_offset: begin } = parquetMetadata(Uint8Array.from(bytes)).row_groups[0]!.columns[1]!.meta_data!;
      return bytes.fill(0xee, Number(begin) + 30, Number(begin) + 80);
    });
    const source = await openTextSource(path, AUTO);
    const [bad, ...good] = await splitsOf(source, { items: 35 });
    const isCorrupt = {
      code: "INPUT_UNREADABLE",
      message: /column "text", rows 0 to 34 cannot be read, the file is corr/,
    };
    await assert.rejects(recordsOf(source), isCorrupt, codec);
    await assert.rejects(readSplits([bad!], { place: namedFile(path) }), isCorrupt, codec);
    assert.equal((await readSplits(good, { place: namedFile(path) })).length, 55, codec);
  }
});

test("the cache makes a value once, keeps the last used ones, and does not keep failures", async () => {
  const cache = new ByteCache<string>(10, (value) => value.length);
  let made = 0;
  const get = (key: string, value = key.repeat(4)) =>
    cache.get(key, async () => {
      made++;
      if (value === "") throw new Error("no");
      return value;
    });
  assert.deepEqual(await Promise.all([get("a"), get("a"), get("b")]), ["aaaa", "aaaa", "bbbb"]);
  assert.equal(made, 2);
  await get("a");
  await get("c");
  assert.equal(made, 3);
  await get("a");
  assert.equal(made, 3, "a was used after b");
  await get("b");
  assert.equal(made, 4, "b was removed");
  await assert.rejects(get("d", ""));
  assert.equal(await get("d"), "dddd");
});
