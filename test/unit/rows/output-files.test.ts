import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";
import { parquetReadObjects } from "hyparquet";
import { columnTypes, rangesOf } from "../../../src/outputs/compact.ts";
import { orderedRows } from "../../../src/outputs/ordered-rows.ts";
import { escapePartition, labelFolder } from "../../../src/outputs/partition.ts";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { RecordSet } from "../../../src/outputs/verify/record-set.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { decodeDataFile, encodeDataFile } from "../../../src/rows/data-file.ts";
import { keptColumns } from "../../../src/rows/kept-columns.ts";
import { type ColumnKind, fits, kindsIn, typeOfKinds } from "../../../src/rows/kept-kinds.ts";
import { encodePart } from "../../../src/rows/part.ts";
import type { Compactions } from "../../../src/runs/compactions.ts";
import type { FileLine } from "../../../src/schemas/manifest.ts";
import { dataFileName, ERRORS_FOLDER, partKey } from "../../../src/schemas/names.ts";
import { OutputOptionsSchema, PLAIN_OUTPUT } from "../../../src/schemas/output.ts";
import type { Row } from "../../../src/schemas/row.ts";
import type { RunFile } from "../../../src/schemas/run.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";

const labels = [
  { label: "A", score: 0.75 },
  { label: "B", score: 0.25 },
];
const source = { uri: "file:///a", record: 0, line: 2 };
const input = {
  n: 7,
  long: "9007199254740993",
  at: "2024-01-02T03:04:05.123456Z",
  local: "2024-01-02T03:04:05.123456",
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
      ["local", "datetime"],
      ["day", "date"],
      ["id", "string"],
      ["any", "json"],
      ["half", "number"],
    ]),
  );
  const output = { ...PLAIN_OUTPUT, format: "parquet" as const };
  const bytes = await encodeDataFile([encodePart([labeled, failed]).bytes], output, kept);
  const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer });
  assert.deepEqual(rows[0], {
    ...{ id: "1", label: "A", score: 0.75, labels, truncated: true, repaired: null, error_code: null },
    ...{ error_message: null, source_uri: "file:///a", source_record: 0n, source_line: 2n, n: 7n },
    long: 9007199254740993n,
    ...{
      local: new Date("2024-01-02T03:04:05.123Z"),
      at: new Date("2024-01-02T03:04:05.123Z"),
      day: new Date("2024-01-02"),
      input_id: "mine",
    },
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
    const bytes = await encodeDataFile(pieces, output, []);
    const rows = (await Array.fromAsync(decodeDataFile(bytes, output))).flat();
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
  assert.equal(typeOfKinds(kindsOf(1, long)), "integer");
  assert.equal(typeOfKinds(kindsOf(long)), "string");
  assert.equal(typeOfKinds(kindsOf(1, long, "x")), "json");
  assert.equal(fits("integer", kindsOf(1, null, long, "-9223372036854775808")), true);
  for (const other of ["9223372036854775808", "1", "09007199254740993", "x"])
    assert.equal(fits("integer", kindsOf(1, other)), false, other);
  assert.equal(fits("timestamp", kindsOf("2024-01-01")), true);
  for (const type of ["timestamp", "date"] as const) assert.equal(fits(type, kindsOf("2024-01-01", 1)), false);
  assert.equal(fits("integer", kindsOf(1, 0.5)), false);
  assert.equal(fits("number", kindsOf(1)), true);
});

test("a column has the type that all inputs say, where its rows bear it out; else that of what they hold", async () => {
  const kinds = new Map<string, Set<ColumnKind>>([
    ["n", new Set(["integer", "null"])],
    ["mixed", new Set(["integer", "string"])],
    ["torn", new Set(["integer"])],
    ["free", new Set(["boolean"])],
  ]);
  const columns = { n: "number", mixed: "integer", torn: "number" } as const;
  const types = await columnTypes(
    {
      ...{ run: "", spec: { read: { keep: ["n", "mixed", "torn"] } } },
      inputs: [{ columns }, { columns: { ...columns, torn: "integer" } }],
    } as unknown as RunFile,
    { columns: async () => kinds } as Partial<Compactions> as Compactions,
  );
  assert.deepEqual(Object.fromEntries(types), { n: "number", mixed: "json", torn: "integer", free: "boolean" });
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
  for (const none of [null, ""]) assert.equal(labelFolder(none), "label=__HIVE_DEFAULT_PARTITION__/");
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

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const linesOf = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

type TestFile = { first: number; last: number; range: number; partition?: string; errors?: true; rows: Row[] };

/**
 * A finished output of four slices of two records, in two ranges, partitioned and with errors apart; every hash and count in it is
 * that of what it holds, so that only the rows themselves can be wrong.
 */
async function outputOf(change: (files: TestFile[]) => void): Promise<MemoryStore> {
  const store = new MemoryStore(randomUUID());
  const row = (record: number, label: string): Row => ({ ...labeled, label, source: { ...source, record } });
  const error = (record: number): Row => ({ ...failed, source: { ...source, record } });
  const files: TestFile[] = [
    { first: 0, last: 1, range: 0, errors: true, rows: [error(3)] },
    { first: 0, last: 1, range: 0, partition: "A", rows: [row(0, "A"), row(2, "A")] },
    { first: 0, last: 1, range: 0, partition: "B", rows: [row(1, "B")] },
    { first: 2, last: 3, range: 1, partition: "A", rows: [4, 5, 6, 7].map((record) => row(record, "A")) },
  ];
  const slices = 4;
  change(files);
  const read = { format: "lines" as const, delimiter: null, column: null, idColumn: null, keep: [] };
  const output = OutputOptionsSchema.parse({ partitionBy: "label", errors: "apart" });
  const runFile = newRunFile({
    spec: {
      ...{ model: { id: "m", revision: "", digest: "0".repeat(64), dtype: "fp32", task: "text-classification" } },
      ...{ read, topK: 1, events: "none", sliceItems: 2, sliceBytes: 8_000_000, output },
    },
    inputs: [{ input: { uri: source.uri, size: null, modifiedAt: null, hash: null }, read }],
  });
  const { run } = runFile;
  const fileLines: FileLine[] = [];
  for (const { rows, ...line } of files) {
    const folder = line.errors ? ERRORS_FOLDER : labelFolder(line.partition!);
    const key = folder + dataFileName(run, line.first, line.last, "jsonl");
    const { bytes } = encodePart(rows);
    await store.put(key, bytes);
    fileLines.push({ key, ...line, rows: rows.length, bytes: bytes.length, sha256: sha256(bytes) });
  }
  const parts = linesOf(
    Array.from({ length: slices }, (_, slice) => ({
      ...{ slice, key: partKey(run, slice, true), planned: [{ input: 0, first: slice * 2, count: 2 }] },
      ...{ rows: 2, errors: slice === 1 ? 1 : 0, bytes: 1, sha256: "0".repeat(64) },
    })),
  );
  const all = files.flatMap(({ rows }) => rows);
  const errors = all.filter((each) => "error" in each).length;
  const labels: Record<string, number> = {};
  for (const each of all) if (!("error" in each)) labels[each.label] = (labels[each.label] ?? 0) + 1;
  const sum = (key: "rows" | "bytes") => fileLines.reduce((total, line) => total + line[key], 0);
  const { spec, inputs, settings: _settings, ...about } = runFile;
  const manifest = {
    ...{ ...about, state: "finished_with_errors", model: spec.model, finishedAt: about.createdAt },
    inputs: inputs.map(({ uri, size, modifiedAt, hash }) => ({ uri, size, modifiedAt, hash, records: 8 })),
    totals: { slices, planned: 8, labeled: all.length - errors, errors, bytes: 4 },
    ...{ labels, errorCodes: { EMPTY_TEXT: errors }, failed: [], failedSlices: 0, partsSha256: sha256(parts) },
    filesSha256: sha256(linesOf(fileLines)),
    files: { count: fileLines.length, rows: sum("rows"), bytes: sum("bytes") },
    conditionalWrites: true,
  };
  await store.put("_run.json", Buffer.from(JSON.stringify(runFile)));
  await store.put("_parts.jsonl", Buffer.from(parts));
  await store.put("_files.jsonl", Buffer.from(linesOf(fileLines)));
  await store.put("_manifest.json", Buffer.from(JSON.stringify(manifest)));
  await store.put("_SUCCESS", new Uint8Array());
  return store;
}

const dataKey = async (store: MemoryStore) =>
  (await Array.fromAsync(store.list("label="))).map(({ key }) => key).find((key) => key.startsWith("label=B"))!;

test("an output of files is proved; whatever its rows are not, all hashes fitting, is told", async () => {
  const problemsOf = async (store: MemoryStore) => (await verifyOutput(store)).problems.join("\n");
  assert.equal(await problemsOf(await outputOf(() => {})), "");
  const spoils: [RegExp, (files: TestFile[]) => void][] = [
    // As many rows as planned: only which records they are tells.
    [/^label=A\/.*: row 2: record 0 of .* is there twice$/m, ([, a]) => a!.rows.splice(1, 1, a!.rows[0]!)],
    [/^files of slices 2 to 3: 1 of records 6 to 7 of .*, expected 2$/m, (files) => files[3]!.rows.pop()],
    [/^label=A\/.*: row 2: record 0 of .* is not in its order$/m, ([, a]) => a!.rows.reverse()],
    [
      /^label=B\/.*: row 1: its label is A$/m,
      ([, a, b]) => ([a!.rows, b!.rows] = [[b!.rows[0]!, a!.rows[1]!], [a!.rows[0]!]]),
    ],
    [/^_errors\/.*: row 1: it has a label$/m, ([e, , b]) => ([e!.rows, b!.rows] = [b!.rows, e!.rows])],
    [/^slices from 2 on are in no file$/m, (files) => files.pop()],
    [/^_files.jsonl: first slice of range 1: 3, expected 2$/m, (files) => (files[3]!.first = 3)],
    [/^_files.jsonl lists label=A\/.*, whose slices are not as the plan has them$/m, (files) => (files[3]!.last = 9)],
    [/: range: 5, expected 1$/m, (files) => (files[3]!.range = 5)],
  ];
  for (const [says, change] of spoils) assert.match(await problemsOf(await outputOf(change)), says);

  const gone = await outputOf(() => {});
  const key = await dataKey(gone);
  await gone.remove(key);
  assert.ok((await verifyOutput(gone)).problems.includes(`${key} is missing`));
  const other = await outputOf(() => {});
  await other.put("_files.jsonl", Buffer.concat([await other.get("_files.jsonl"), Buffer.from("\n")]));
  assert.match(await problemsOf(other), /^hash of _files.jsonl: /m);
});

test("rows of files come in the plan's order, and those that are in error alone where they are asked for", async () => {
  const store = await outputOf(() => {});
  const found = async (inError: boolean) =>
    (await Array.fromAsync(orderedRows(store, inError))).map(({ first, last, rows }) => [
      first,
      last,
      ...rows.map(({ record }) => record),
    ]);
  assert.deepEqual(await found(false), [
    [0, 1, 0, 1, 2, 3],
    [2, 3, 4, 5, 6, 7],
  ]);
  assert.deepEqual(await found(true), [
    [0, 1, 3],
    [2, 3],
  ]);
});
