import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { AttemptRecord } from "../../../src/workers/crashes/attempt-record.ts";
import { type Crash, MAX_UNBLAMED_CRASHES } from "../../../src/workers/crashes/evidence.ts";
import type { LabelItems } from "../../../src/workers/slice/label-items.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";

const MODEL = "tiny-sentiment";
const FAILURE = { code: "STORE_FAILED", message: "the shelf is full" };

/** A pipeline whose worker permanently fails the slice with text number 10. */
async function failing(): Promise<TestPipeline> {
  const pipeline = await TestPipeline.open();
  await pipeline.worker(
    { threads: 1 },
    {
      around: ({ steps, label }) => ({
        steps,
        label: async (items, ...rest) => {
          if (items.some(({ text }) => text?.endsWith(" 10")))
            throw new LabelmillError("STORE_FAILED", FAILURE.message, { retryable: false });
          return label(items, ...rest);
        },
      }),
    },
  );
  return pipeline;
}

test("the reason of a failed run is in its status, the list, the end of watch, the JSON output and the manifest", async () => {
  await using pipeline = await failing();
  await using workspace = await Workspace.open();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 30);
  const { state, store, runFile } = await pipeline.run(
    { kind: "text", path, model: MODEL, out: "out" },
    { sliceItems: 10 },
  );
  assert.equal(state, "failed");
  const { failure, failedSlices } = (await readManifest(store))!;
  assert.deepEqual([failure, failedSlices], [FAILURE, 1]);
  const env = { REDIS_URL: pipeline.redis.url };
  const { run } = runFile;
  const ask = async (...args: string[]) => (await workspace.run(args, { env })).stdout;
  assert.match(
    await ask("run", "status", run),
    /^1 slices failed permanently, the first with STORE_FAILED: the shelf is full$/m,
  );
  assert.match(await ask("run", "list"), /failed {2}20\/30 rows.* · 1 slices failed · STORE_FAILED: the shelf is full/);
  assert.match(await ask("run", "watch", run), /STORE_FAILED in slice 1: the shelf is full/);
  const status = JSON.parse(await ask("run", "status", run, "--json"));
  assert.deepEqual([status.failure, status.failed], [FAILURE, 1]);
  const watched = JSON.parse(await ask("run", "watch", run, "--json"));
  assert.deepEqual([watched.failure, watched.failedSlices], [FAILURE, 1]);
});

test("the result of a failed submission has the reason and the number of failed slices", async () => {
  await using pipeline = await failing();
  const producer = await pipeline.producer({ sliceItems: 10 });
  const texts = Array.from({ length: 30 }, (_, i) => `fine ${i}`);
  const run = await producer.submit({ model: MODEL, texts });
  const { state, failed, failedSlices, rows } = await run.wait();
  assert.deepEqual([state, failed, failedSlices, rows], ["failed", FAILURE, 1, 20]);
});

test("a submission whose run was stopped resolves with the reason, although it has no manifest", async () => {
  await using pipeline = await TestPipeline.open();
  // It labels nothing until it is stopped.
  const label: LabelItems = (_items, _job, signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  await pipeline.worker({ threads: 1 }, { around: ({ steps }) => ({ steps, label }) });
  const producer = await pipeline.producer({ sliceItems: 10 });
  const run = await producer.submit({ model: MODEL, texts: Array.from({ length: 30 }, (_, i) => `fine ${i}`) });
  const ledger = new RunLedger(await pipeline.connection());
  while ((await ledger.state(run.run)) !== "running") await new Promise(setImmediate);
  await ledger.failRun(run.run, "STORE_FAILED: the shelf is full");
  const { state, failed, failedSlices } = await run.wait();
  assert.deepEqual([state, failed, failedSlices], ["failed", FAILURE, 0]);
  assert.deepEqual((await ledger.progress(run.run))!.failure, FAILURE);
  await ledger.submit(run.run, run.output);
  await ledger.begin(run.run, { output: run.output, model: { id: MODEL, digest: "0".repeat(64) }, lane: "bulk" });
  assert.equal((await ledger.progress(run.run))!.failure, undefined, "planning starts again");
});

test("a slice fails permanently after ten crashes without a blamed item; other slices, and one with nine crashes, do not", async () => {
  await using pipeline = await TestPipeline.open();
  const forgotten: number[] = [];
  const died: Record<number, number> = { 1: MAX_UNBLAMED_CRASHES - 1, 2: MAX_UNBLAMED_CRASHES };
  const worker = await pipeline.worker(
    { threads: 1 },
    {
      crashRecord: {
        take: async ({ slice }) => {
          const crashes = Array.from(
            { length: died[slice] ?? 0 },
            (_, i): Crash => ({ by: `${i}`, at: null, after: 0 }),
          );
          // A crash with a known group of items does not count for the whole slice.
          if (slice === 1) crashes.push({ by: "blamed", at: [0, 5], after: 1 }, { by: "blamed", at: null, after: 0 });
          const store = { save: async () => {}, forget: async () => void forgotten.push(slice) };
          return new AttemptRecord("own", store, { crashes, through: [] });
        },
      },
    },
  );
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 40);
  const { state, store } = await pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 10 });
  assert.equal(state, "failed");
  const { failed, totals } = (await readManifest(store))!;
  assert.deepEqual(
    failed.map(({ slice, code }) => [slice, code]),
    [[2, "SLICE_CRASHED_WORKER"]],
  );
  assert.equal(totals.labeled, 30);
  assert.equal(worker.engines[0]!.stats.items, 30, "the slice did not run");
  assert.deepEqual(forgotten.sort(), [0, 1, 2, 3], "counting starts again");
});
