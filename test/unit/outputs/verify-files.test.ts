import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { test } from "node:test";
import { orderedRows } from "../../../src/outputs/ordered-rows.ts";
import { labelFolder } from "../../../src/outputs/partition.ts";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { encodePart } from "../../../src/rows/part.ts";
import type { FileLine } from "../../../src/schemas/manifest.ts";
import { dataFileName, ERRORS_FOLDER, partKey } from "../../../src/schemas/names.ts";
import { OutputOptionsSchema } from "../../../src/schemas/output.ts";
import type { Row } from "../../../src/schemas/row.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";

const source = { uri: "file:///a", record: 0 };
const labeled = { id: "1", label: "A", score: 0.75, labels: [{ label: "A", score: 0.75 }], source };
const failed = { id: "2", error: { code: "EMPTY_TEXT", message: "no text" }, source };

const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");
const linesOf = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

type TestFile = { first: number; last: number; range: number; partition?: string; errors?: true; rows: Row[] };

/**
 * A finished output of four slices of two records, in two ranges, partitioned and with separate errors. All hashes and counts fit the
 * files after `change`, so that only the rows themselves can be wrong.
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

test("an output of files is proved; wrong rows are reported even if all hashes fit", async () => {
  const problemsOf = async (store: MemoryStore) => (await verifyOutput(store)).problems.join("\n");
  assert.equal(await problemsOf(await outputOf(() => {})), "");
  const cases: [RegExp, (files: TestFile[]) => void][] = [
    // The number of rows is as planned: only the records differ.
    [/^label=A\/.*: row 2: record 0 of .* has two rows$/m, ([, a]) => a!.rows.splice(1, 1, a!.rows[0]!)],
    [/^files of slices 2 to 3: 1 of records 6 to 7 of .*, expected 2$/m, (files) => files[3]!.rows.pop()],
    [/^label=A\/.*: row 2: record 0 of .* is out of order$/m, ([, a]) => a!.rows.reverse()],
    [
      /^label=B\/.*: row 1: its label is A$/m,
      ([, a, b]) => ([a!.rows, b!.rows] = [[b!.rows[0]!, a!.rows[1]!], [a!.rows[0]!]]),
    ],
    [/^_errors\/.*: row 1: it has a label$/m, ([e, , b]) => ([e!.rows, b!.rows] = [b!.rows, e!.rows])],
    [/^slices from 2 on are in no file$/m, (files) => files.pop()],
    [/^_files.jsonl: first slice of range 1: 3, expected 2$/m, (files) => (files[3]!.first = 3)],
    [/^_files.jsonl lists label=A\/.*, whose slices are not a range of the plan$/m, (files) => (files[3]!.last = 9)],
    [/: range: 5, expected 1$/m, (files) => (files[3]!.range = 5)],
  ];
  for (const [problem, change] of cases) assert.match(await problemsOf(await outputOf(change)), problem);

  const missing = await outputOf(() => {});
  const key = await dataKey(missing);
  await missing.remove(key);
  assert.ok((await verifyOutput(missing)).problems.includes(`${key} is missing`));
  const other = await outputOf(() => {});
  await other.put("_files.jsonl", Buffer.concat([await other.get("_files.jsonl"), Buffer.from("\n")]));
  assert.match(await problemsOf(other), /^hash of _files.jsonl: /m);
});

test("rows of files are read in the order of the plan, optionally only those in error", async () => {
  const store = await outputOf(() => {});
  const found = async (onlyErrors: boolean) =>
    (await Array.fromAsync(orderedRows(store, onlyErrors))).map(({ first, last, rows }) => [
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
