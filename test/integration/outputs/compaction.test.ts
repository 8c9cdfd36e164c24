import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Queue } from "bullmq";
import { openOutput } from "../../../src/outputs/claim.ts";
import { compactRange } from "../../../src/outputs/compact.ts";
import { finalizeRun } from "../../../src/outputs/finalize.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { FileEncoder } from "../../../src/rows/file-encoder.ts";
import { encodePart } from "../../../src/rows/part.ts";
import { Compactions } from "../../../src/runs/compactions.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { FinalizerQueue } from "../../../src/runs/queues/finalizer-queue.ts";
import { JOB_VERSION, KEY_PREFIX, partKey, RUNS_QUEUE } from "../../../src/schemas/names.ts";
import { type OutputOptions, OutputOptionsSchema } from "../../../src/schemas/output.ts";
import type { Row } from "../../../src/schemas/row.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import type { KillPoint } from "../../helpers/runs/kill-points.ts";
import { FAST, TestPipeline } from "../../helpers/runs/pipeline.ts";

const RECORDS = 300;

/** Every tenth record has no text. */
async function writeInput(folder: string): Promise<string> {
  const path = join(folder, "in.jsonl");
  const rows = Array.from({ length: RECORDS }, (_, i) => ({
    ...{ text: i % 10 === 0 ? "" : `it was ${["good", "bad"][i % 2]} ${i}`, n: i, mixed: i === 7 ? "x" : i },
    label: `mine ${i}`,
  }));
  await writeFile(path, `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
  return path;
}

function request(path: string, out: string, output: Partial<OutputOptions>) {
  return { kind: "text" as const, path, model: "tiny-sentiment", out, output, keep: ["n", "mixed", "label"] };
}

test("output files of each format are written and proved, and no other files are left", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker();
  const path = await writeInput(pipeline.folder);
  const formats: [string, Partial<OutputOptions>, RegExp[]][] = [
    ["gzip", { compression: "gzip" }, [/^data-0000000-0000005-.{8}\.jsonl\.gz$/]],
    ["zstd", { compression: "zstd", errors: "apart" }, [/^_errors\/data-.*\.jsonl\.zst$/, /^data-.*\.jsonl\.zst$/]],
    [
      "parquet",
      { format: "parquet", partitionBy: "label" },
      [/^label=NEGATIVE\/data-.*\.parquet$/, /^label=POSITIVE\//, /^label=__HIVE_DEFAULT_PARTITION__\//],
    ],
    ["plain", { format: "parquet", errors: "apart" }, [/^_errors\/data-.*\.parquet$/, /^data-.*\.parquet$/]],
  ];
  for (const [out, output, expected] of formats) {
    const { store, state } = await pipeline.run(request(path, out, output), { sliceItems: 50 });
    assert.equal(state, "finished_with_errors");
    const proof = await verifyOutput(store, { inputs: async () => RECORDS });
    assert.deepEqual(proof.problems, [], out);
    assert.deepEqual(proof.totals, { parts: 6, planned: 300, labeled: 270, errors: 30 });
    const keys = (await Array.fromAsync(store.list(""))).map(({ key }) => key);
    const files = keys.filter((key) => key.includes("data-")).sort();
    assert.equal(files.length, expected.length, files.join());
    for (const [i, pattern] of expected.entries()) assert.match(files[i]!, pattern);
    assert.ok(!(await readdir(join(pipeline.folder, out))).includes("_parts"));

    const recounted = await verifyOutput(store, { inputs: async () => RECORDS + 1 });
    assert.match(recounted.problems.join(), /records of .* now: 301, expected 300/);
    const bytes = await store.get(files[0]!);
    bytes[bytes.length >> 1]! ^= 1;
    await store.put(files[0]!, bytes);
    await store.put("data-0000009-0000009-00000000.jsonl", new Uint8Array());
    await store.put("_parts/left", new Uint8Array());
    const { ok, problems } = await verifyOutput(store);
    assert.equal(ok, false);
    for (const expected of [/: sha256: /, /_parts\/left exists/, /^files in the output: \d, expected \d$/])
      assert.ok(
        problems.some((problem) => expected.test(problem)),
        `${expected}: ${problems.join("\n")}`,
      );
    // If Redis was lost before the parts were removed, a repetition of the command removes them.
    await pipeline.submit(request(path, out, output), { sliceItems: 50 });
    assert.ok(!(await readdir(join(pipeline.folder, out))).includes("_parts"));
  }
});

test("with a target size and partitions, each range of parts has its own files, and each row is in one of them", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker();
  const path = join(pipeline.folder, "wide.jsonl");
  const rows = Array.from({ length: 300 }, (_, i) => ({
    text: `it was ${["good", "bad"][i % 2]}`,
    pad: "x".repeat(8000),
  }));
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const output = { format: "parquet", targetBytes: 1_000_000, partitionBy: "label" } as const;
  const { store } = await pipeline.run({ ...request(path, "out", output), keep: ["pad"] }, { sliceItems: 50 });
  const proof = await verifyOutput(store);
  assert.deepEqual(proof.problems, []);
  assert.deepEqual(proof.totals, { parts: 6, planned: 300, labeled: 300, errors: 0 });
  const keys = (await Array.fromAsync(store.list("label="))).map(({ key }) => key.replace(/-.{8}\.parquet$/, ""));
  assert.deepEqual(
    keys,
    ["NEGATIVE", "POSITIVE"].flatMap((label) =>
      ["0000000-0000002", "0000003-0000005"].map((range) => `label=${label}/data-${range}`),
    ),
  );
});

test("kill -9 at each step of writing the files: the run is proved", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeInput(pipeline.folder);
  const kills: KillPoint[] = (["file", "parts", "manifest", "removed"] as const).map((step) => ({
    step,
    slice: 0,
    times: 1,
  }));
  const run = pipeline.run(request(path, "out", { format: "parquet", partitionBy: "label", errors: "apart" }), {
    sliceItems: 50,
  });
  let over = false;
  const ended = run.finally(() => {
    over = true;
  });
  const supervised = (async () => {
    while (!over) {
      const worker = await pipeline.spawnWorker({
        model: "tiny-sentiment",
        kills,
        settings: { ...FAST, sliceItems: 50 },
      });
      if (worker.signalCode === null) await Promise.race([once(worker, "exit"), ended]);
    }
  })();
  const { store } = await ended;
  await supervised;
  const evidence = (await readdir(pipeline.folder)).filter((name) => /^[a-z]+-0-\d$/.test(name));
  assert.equal(evidence.length, 4, evidence.join());
  assert.deepEqual((await verifyOutput(store)).problems, []);
});

/** Records the keys that are written and removed, in order. */
class RecordingStore extends MemoryStore {
  readonly steps: string[] = [];

  override async put(...args: Parameters<MemoryStore["put"]>): Promise<void> {
    await super.put(...args);
    this.steps.push(args[0]);
  }

  override async remove(key: string): Promise<void> {
    await super.remove(key);
    this.steps.push(`-${key}`);
  }
}

/** A run whose two slices are labeled and committed, so that it can be closed. No worker serves its queues. */
async function labeledRun(
  pipeline: TestPipeline,
  { failed = false, retry }: { failed?: boolean; retry?: number } = {},
) {
  const redis = await pipeline.connection();
  const ledger = new RunLedger(redis);
  const finalizers = new FinalizerQueue(redis, { attempts: 1, backoffMs: 100 });
  pipeline.defer(() => finalizers.close());
  const compactions = new Compactions(redis, finalizers);
  const encoder = new FileEncoder();
  pipeline.defer(() => encoder.close());
  const queue = new Queue(RUNS_QUEUE, { connection: redis, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  const store = new RecordingStore(`${randomUUID()}${retry === undefined ? "" : `/_retries/${retry}`}`);
  const read = { format: "lines" as const, delimiter: null, column: null, idColumn: null, keep: [] };
  const model = { id: "m", revision: "", digest: "0".repeat(64), dtype: "fp32", task: "text-classification" as const };
  const uri = "file:///texts";
  const made = newRunFile({
    spec: {
      ...{ model, read, topK: 1, events: "none", sliceItems: 2, sliceBytes: 8_000_000 },
      output: OutputOptionsSchema.parse({ compression: "gzip" }),
    },
    inputs: [{ input: { uri, size: null, modifiedAt: null, hash: null }, read }],
  });
  const runFile = { ...made, ...(retry === undefined ? {} : { retryOf: { run: "0123456789abcdef", retry } }) };
  const { run } = runFile;
  await openOutput(store, runFile);
  await ledger.begin(run, { output: store.uri, model, lane: "bulk" });
  const slices = [0, 1].map((slice) => ({ slice, ranges: [{ input: 0, first: slice * 2, count: 2 }] }));
  await ledger.plan(run, slices, 4);
  await ledger.planDone(run, { slices: 2, items: 4 });
  const labels = [{ label: "A", score: 1 }];
  for (const { slice, ranges } of slices) {
    const rows = [0, 1].map((at): Row => {
      const record = ranges[0]!.first + at;
      return { id: String(record), label: "A", score: 1, labels, source: { uri, record } };
    });
    const { bytes, ...part } = encodePart(rows);
    await store.put(partKey(run, slice, true), bytes);
    if (failed && slice === 1) await ledger.fail(run, slice, { code: "STORE_FAILED", message: "full" });
    else await ledger.commit(run, slice, part);
  }
  store.steps.length = 0;
  const close = () => finalizeRun(run, store, ledger, compactions, async (at) => assert.fail(`${at} was opened`));
  const job = { v: JOB_VERSION, run, output: store.uri, range: 0, first: 0, last: 1 } as const;
  const compact = () => compactRange(job, store, ledger, compactions, encoder);
  const keys = async (prefix: string) => (await Array.fromAsync(store.list(prefix))).map(({ key }) => key);
  const queued = async () => (await queue.getJobs(["waiting"])).map(({ name }) => name);
  return { run, store, ledger, compactions, close, compact, keys, queued, queue };
}

test("files are written first, then the manifest, then _SUCCESS, and then the parts are removed", async () => {
  await using pipeline = await TestPipeline.open();
  const { run, store, close, compact, keys, queued, queue } = await labeledRun(pipeline);
  assert.equal(await close(), undefined, "its files are not made yet");
  assert.deepEqual([await queued(), store.steps], [["compact"], []]);
  await queue.drain();
  await compact();
  assert.deepEqual(await queued(), ["finalize"]);
  await queue.drain();
  // As after a process died between the end of the range and queuing the finalize job.
  await compact();
  assert.deepEqual(await queued(), ["finalize"], "a job whose range is done queues it too");
  assert.deepEqual(store.steps, []);
  assert.equal(await close(), "succeeded");
  assert.deepEqual(store.steps, [
    ...["_files.jsonl", "_parts.jsonl", "_manifest.json", "_SUCCESS"],
    ...[0, 1].map((slice) => `-${partKey(run, slice, true)}`),
  ]);
  assert.equal((await keys("data-")).length, 1);
  assert.deepEqual((await verifyOutput(store)).problems, []);
});

test("no file is made of a part that was changed after its commit", async () => {
  await using pipeline = await TestPipeline.open();
  const { run, store, close, compact, keys, compactions } = await labeledRun(pipeline);
  await close();
  const key = partKey(run, 1, true);
  const text = Buffer.from(await store.get(key)).toString();
  await store.put(key, Buffer.from(text.replaceAll('"label":"A"', '"label":"B"')));
  await assert.rejects(compact(), { code: "PART_MISMATCH", message: /is not the part that was committed/ });
  assert.deepEqual([await keys("data-"), await compactions.isDone(run, 0)], [[], false]);
});

test("an existing file is listed as it is, even if a later attempt would write it differently", async () => {
  await using pipeline = await TestPipeline.open();
  const { store, close, compact, keys } = await labeledRun(pipeline);
  await close();
  const { putIfAbsent } = store;
  store.putIfAbsent = async (key, body) => {
    // Another version of the software compressed the same rows differently.
    await putIfAbsent.call(store, key, Buffer.concat([body, gzipSync("")]));
    return false;
  };
  await compact();
  assert.equal(await close(), "succeeded");
  assert.equal((await keys("data-")).length, 1);
  assert.deepEqual((await verifyOutput(store)).problems, []);
});

test("no files are made of a run that failed", async () => {
  await using pipeline = await TestPipeline.open();
  const { run, ledger, close, compact, keys, queued, queue } = await labeledRun(pipeline);
  await close();
  await queue.drain();
  await ledger.failRun(run, "STORE_FAILED: full");
  await compact();
  assert.deepEqual([await keys("data-"), await queued()], [[], []]);
});

test("a run with a slice that failed permanently has no files and no _SUCCESS, and keeps its parts", async () => {
  await using pipeline = await TestPipeline.open();
  const { run, store, close, keys, queued } = await labeledRun(pipeline, { failed: true });
  assert.equal(await close(), "failed");
  assert.deepEqual(store.steps, ["_parts.jsonl", "_manifest.json"]);
  assert.deepEqual([await queued(), await keys("data-")], [[], []]);
  assert.equal((await keys("_parts/")).length, 2);
  assert.equal((await readManifest(store))!.run, run);
});

test("a retry with a slice that failed permanently is not recorded in the manifest of its run", async () => {
  await using pipeline = await TestPipeline.open();
  const { close, queued } = await labeledRun(pipeline, { failed: true, retry: 1 });
  assert.equal(await close(), "failed");
  assert.deepEqual(await queued(), []);
});
