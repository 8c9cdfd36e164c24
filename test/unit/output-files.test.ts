import assert from "node:assert/strict";
import { test } from "node:test";
import { parquetReadObjects } from "hyparquet";
import { rangesOf } from "../../src/runs/compact.ts";
import { escapePartition, labelFolder } from "../../src/runs/partition.ts";
import { RecordSet } from "../../src/runs/record-set.ts";
import { PLAIN_OUTPUT } from "../../src/schemas/output.ts";
import { type Row, RowSchema } from "../../src/schemas/row.ts";
import { fits, kindsIn, typeOfKinds } from "../../src/storage/column-kinds.ts";
import { decodeFile, encodeFile } from "../../src/storage/file-rows.ts";
import { keptColumns } from "../../src/storage/parquet-file.ts";
import { encodePart } from "../../src/storage/part.ts";
import { isRow } from "../../src/storage/row-check.ts";

const labels = [
  { label: "A", score: 0.75 },
  { label: "B", score: 0.25 },
];
const source = { uri: "file:///a", record: 0, line: 2 };
const input = {
  n: 7,
  long: "9007199254740993",
  at: "2024-01-02T03:04:05.123456Z",
  day: "2024-01-02",
  id: "mine",
  any: { x: [1] },
  half: 0.5,
};
const labeled: Row = { id: "1", label: "A", score: 0.75, labels, truncated: true, input, source };
const failed: Row = {
  id: "2",
  error: { code: "EMPTY_TEXT", message: "none" },
  source: { uri: "file:///a", record: 1 },
};

test("a Parquet file has typed columns, and null where a row has none", async () => {
  const kept = keptColumns(
    new Map([
      ["n", "integer"],
      ["long", "integer"],
      ["at", "timestamp"],
      ["day", "date"],
      ["id", "string"],
      ["any", "json"],
      ["half", "number"],
    ]),
  );
  const output = { ...PLAIN_OUTPUT, format: "parquet" as const };
  const bytes = await encodeFile([encodePart([labeled, failed]).bytes], output, kept);
  const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer });
  assert.deepEqual(rows[0], {
    ...{ id: "1", label: "A", score: 0.75, labels, truncated: true, repaired: null, error_code: null },
    ...{ error_message: null, source_uri: "file:///a", source_record: 0n, source_line: 2n, n: 7n },
    long: 9007199254740993n,
    ...{ at: new Date("2024-01-02T03:04:05.123Z"), day: new Date("2024-01-02"), input_id: "mine" },
    ...{ any: '{"x":[1]}', half: 0.5 },
  });
  assert.deepEqual(rows[1]!.error_code, "EMPTY_TEXT");
  for (const name of ["label", "labels", "n"]) assert.equal(rows[1]![name] ?? null, null);
});

test("each form is read back, row by row in order, over many pieces", async () => {
  const many = Array.from({ length: 25_000 }, (_, i): Row => ({ ...labeled, source: { ...source, record: i } }));
  const pieces = [encodePart(many.slice(0, 3)).bytes, encodePart(many.slice(3)).bytes, encodePart([failed]).bytes];
  for (const form of [
    { format: "parquet" as const },
    { compression: "gzip" as const },
    { compression: "zstd" as const },
    { targetBytes: 1_000_000 },
  ]) {
    const output = { ...PLAIN_OUTPUT, ...form };
    const bytes = await encodeFile(pieces, output, []);
    const rows = (await Array.fromAsync(decodeFile(bytes, output))).flat();
    assert.equal(rows.length, 25_001);
    assert.ok(rows.slice(0, -1).every(({ record, label }, i) => record === i && label === "A"));
    assert.deepEqual(rows.at(-1), { uri: "file:///a", record: 1, errorCode: "EMPTY_TEXT" });
  }
});

test("the type of a column is the union of what it holds", () => {
  const kindsOf = (...values: unknown[]) =>
    kindsIn(values.map((value) => ({ ...labeled, input: { c: value } }))).get("c")!;
  assert.equal(typeOfKinds(kindsOf(1, null)), "integer");
  assert.equal(typeOfKinds(kindsOf(1, 0.5)), "number");
  assert.equal(typeOfKinds(kindsOf(1, "1")), "json");
  assert.equal(typeOfKinds(kindsOf({}, null)), "json");
  assert.equal(typeOfKinds(kindsOf(null)), "string");
  assert.equal(typeOfKinds(kindsOf(2 ** 60)), "number");
  const long = "9007199254740993";
  assert.equal(typeOfKinds(kindsOf(long, "x")), "string");
  assert.equal(typeOfKinds(kindsOf(1, long)), "json");
  assert.equal(fits("integer", kindsOf(1, null, long, "-9223372036854775808")), true);
  for (const other of ["9223372036854775808", "1", "09007199254740993", "x"])
    assert.equal(fits("integer", kindsOf(1, other)), false, other);
  assert.equal(fits("timestamp", kindsOf("2024-01-01")), true);
  assert.equal(fits("integer", kindsOf(1, 0.5)), false);
  assert.equal(fits("number", kindsOf(1)), true);
});

test("names that are taken get a prefix, as often as needed", () => {
  const names = keptColumns(
    new Map([
      ["id", "string"],
      ["input_id", "string"],
      ["x", "string"],
    ]),
  ).map(({ name }) => name);
  assert.deepEqual(names, ["input_input_id", "input_id", "x"]);
});

test("labels are escaped as Hive does", () => {
  assert.equal(escapePartition("a/b=c%d é\n"), "a%2Fb%3Dc%25d é%0A");
  assert.equal(labelFolder(null), "label=__HIVE_DEFAULT_PARTITION__/");
});

test("ranges are consecutive, each of enough bytes", async () => {
  const receipt = (bytes: number) => ({ rows: 1, errors: 0, bytes, sha256: "" });
  async function* slices() {
    for (const [slice, bytes] of [4, 7, 12, 3].entries()) yield { slice, receipt: receipt(bytes) };
  }
  assert.deepEqual(await Array.fromAsync(rangesOf(slices(), 10)), [
    { range: 0, first: 0, last: 1 },
    { range: 1, first: 2, last: 2 },
    { range: 2, first: 3, last: 3 },
  ]);
});

test("each record is met once, in order, and as many as were selected", () => {
  const records = new RecordSet(
    [
      { input: 0, first: 5, count: 3 },
      { input: 1, first: 0, count: 10, selected: 2 },
    ],
    ["a", "b"],
  );
  records.begin();
  assert.equal(records.take({ uri: "a", record: 5 }), undefined);
  assert.match(records.take({ uri: "a", record: 5 })!, /twice/);
  assert.match(records.take({ uri: "a", record: 8 })!, /not in the plan/);
  assert.equal(records.take({ uri: "b", record: 9 }), undefined);
  assert.match(records.take({ uri: "b", record: 3 })!, /order/);
  assert.deepEqual([...records.missing()], ["1 of records 5 to 7 of a, expected 3"]);
});

test("the plain check of a row takes nothing that the schema refuses", () => {
  const bad = [undefined, null, -1, 2, "", "x", [], {}, Number.NaN, 0.5, [{}], { uri: "a", record: 0.5 }];
  for (const row of [labeled, failed]) {
    assert.ok(isRow(row));
    for (const key of [...Object.keys(row), "more", "error", "label", "retryable"])
      for (const value of [...bad, { code: "x", message: "" }, { code: "X", message: "", more: 1 }]) {
        const changed = { ...row, [key]: value };
        if (isRow(changed)) assert.ok(RowSchema.safeParse(changed).success, JSON.stringify(changed));
      }
  }
});
