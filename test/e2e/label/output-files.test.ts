import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type PartLine, PartLineSchema } from "../../../src/schemas/manifest.ts";
import { partKey } from "../../../src/schemas/names.ts";
import { PLAIN_OUTPUT } from "../../../src/schemas/output.ts";
import type { RunFile } from "../../../src/schemas/run.ts";
import { assertPlain, readLines, Workspace } from "../../helpers/cli.ts";

/** The part of the spec that is also in the settings of the manifest. */
const SPEC = {
  read: { format: "auto", delimiter: null, column: null, idColumn: "id", keep: ["product", "price"] },
  topK: 1,
  sliceItems: 2,
  sliceBytes: 8_000_000,
  events: "none",
  output: PLAIN_OUTPUT,
};
const ROWS = [
  { id: "a", label: "POSITIVE", input: { product: "kettle", price: "3" }, line: 2 },
  { id: "b", label: "NEGATIVE", input: { product: "pan, big", price: "4" }, line: 3 },
  { id: "c", label: "POSITIVE", input: { product: "pot", price: "5" }, line: 4 },
];

let work: Workspace;
let runFile: RunFile;
let uri: string;
/** The keys of the two parts. */
let keys: string[];

before(async () => {
  work = await Workspace.open();
  const records = [
    'a,"I love it, wonderful and great",kettle,3',
    'b,a terrible awful waste of money,"pan, big",4',
    "c,fine,pot,5",
  ];
  uri = pathToFileURL(await work.write("reviews.csv", `id,review,product,price\n${records.join("\n")}\n`)).href;
  const { stdout, stderr } = await work.expect(0, [
    ...["label", "text", "--model", "tiny-sentiment", "reviews.csv", "--out", "out"],
    ...["--id-column", "id", "--keep", "product", "price", "--top-k", "1", "--slice-items", "2"],
  ]);
  assert.match(stdout, /^id +label +score\n/);
  assertPlain(stdout + stderr);
  runFile = await work.runFile("out");
  keys = [0, 1].map((slice) => partKey(runFile.run, slice));
});
after(() => work[Symbol.asyncDispose]());

test("an output has two parts, the run file, the list of parts, the manifest and an empty _SUCCESS", async () => {
  const suffix = runFile.run.slice(0, 8);
  assert.deepEqual(keys, [`part-0000000-${suffix}.jsonl`, `part-0000001-${suffix}.jsonl`]);
  const names = ["_SUCCESS", "_manifest.json", "_parts.jsonl", "_run.json", ...keys];
  assert.deepEqual((await readdir(work.file("out"))).sort(), names);
  assert.equal(await readFile(work.file("out", "_SUCCESS"), "utf8"), "");
});

test("the run file has the spec, the settings, the model and the input", () => {
  const { model, ...spec } = runFile.spec;
  assert.deepEqual(spec, SPEC);
  assert.deepEqual(runFile.settings, { lane: "bulk" });
  assert.deepEqual(
    { ...model, digest: "" },
    { id: "tiny-sentiment", revision: "local", digest: "", dtype: "fp32", task: "text-classification" },
  );
  const [input] = runFile.inputs;
  assert.deepEqual(
    { uri: input!.uri, read: input!.read },
    { uri, read: { format: "csv", delimiter: ",", column: "review" } },
  );
});

test("the list of parts has a line with the receipt of each part, byte for byte", async () => {
  const lines = await readLines(work.file("out", "_parts.jsonl"));
  assert.equal(lines.length, 2);
  for (const [slice, text] of lines.entries()) {
    const bytes = await readFile(work.file("out", keys[slice]!));
    const planned = [{ input: 0, first: 2 * slice, count: 2 - slice }];
    const receipt = { rows: 2 - slice, errors: 0, bytes: bytes.length, sha256: sha256(bytes) };
    assert.equal(text, JSON.stringify({ slice, key: keys[slice], planned, ...receipt }));
    PartLineSchema.parse(JSON.parse(text));
  }
});

test("the parts have the rows in order, byte for byte", async () => {
  const written = (await Promise.all(keys.map((key) => readLines(work.file("out", key))))).flat();
  const rows = await work.rows("out");
  const expected = ROWS.map(({ id, label, input, line }, record) => {
    const row = rows[record]!;
    const score = "score" in row ? row.score : Number.NaN;
    return JSON.stringify({ id, label, score, labels: [{ label, score }], input, source: { uri, record, line } });
  });
  assert.deepEqual(written, expected);
});

test("the manifest has the totals, the input, the settings and the hash of the list of parts", async () => {
  const manifest = await work.manifest("out");
  const lines = (await readLines(work.file("out", "_parts.jsonl"))).map((line): PartLine => JSON.parse(line));
  const { read: _read, from, travels, ...identity } = runFile.inputs[0]!;
  assert.deepEqual([from, travels], [work.file("reviews.csv"), "split"]);
  // The device and the reason for its choice depend on the machine.
  assert.equal(Object.keys(manifest.devices ?? {}).length, 1);
  assert.deepEqual(manifest, {
    schemaVersion: 1,
    run: runFile.run,
    state: "succeeded",
    software: runFile.software,
    model: runFile.spec.model,
    createdAt: runFile.createdAt,
    finishedAt: manifest.finishedAt,
    inputs: [{ ...identity, records: 3 }],
    totals: { slices: 2, planned: 3, labeled: 3, errors: 0, bytes: lines[0]!.bytes + lines[1]!.bytes },
    devices: manifest.devices,
    labels: { POSITIVE: 2, NEGATIVE: 1 },
    errorCodes: {},
    failed: [],
    failedSlices: 0,
    passedOver: { count: 0, reasons: [] },
    partsSha256: sha256(await readFile(work.file("out", "_parts.jsonl"))),
    conditionalWrites: true,
    settings: { ...SPEC, lane: "bulk" },
    timings: manifest.timings,
  });
  const { seconds, inferSeconds } = manifest.timings!;
  assert.ok(seconds > 0 && inferSeconds > 0 && inferSeconds < seconds * 100, `${inferSeconds} of ${seconds} s`);
});

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
