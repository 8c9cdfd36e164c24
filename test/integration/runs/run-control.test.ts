import assert from "node:assert/strict";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Queue } from "bullmq";
import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import type { Job } from "../../../src/schemas/job.ts";
import { JOB_VERSION, jobId, KEY_PREFIX, partKey, queueName, SUCCESS_FILE } from "../../../src/schemas/names.ts";
import { RunControl } from "../../../src/workers/run-control.ts";
import { handleSlice } from "../../../src/workers/slice/handle-slice.ts";
import type { SliceContext } from "../../../src/workers/slice/slice-context.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const MODEL = "tiny-sentiment";
const never = new AbortController().signal;

async function writeLines(pipeline: TestPipeline, name: string, lines: readonly string[]): Promise<string> {
  const path = join(pipeline.folder, `${name}.csv`);
  await writeFile(path, `id,text\n${lines.map((line, i) => `${i},${line}`).join("\n")}\n`);
  return path;
}

async function queueOf(pipeline: TestPipeline): Promise<Queue> {
  const connection = await pipeline.connection();
  const queue = new Queue(queueName(await loadBuiltIn(MODEL), "bulk"), { connection, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  return queue;
}

test("while one of two runs on a queue is paused, the other finishes; the paused run then continues without a lost attempt", async () => {
  await using pipeline = await TestPipeline.open();
  const ledger = new RunLedger(await pipeline.connection());
  const queue = await queueOf(pipeline);
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const labeled = { alpha: 0, beta: 0 };
  await pipeline.worker(
    { threads: 1 },
    {
      around: ({ steps, label }) => ({
        steps,
        label: async (items, ...rest) => {
          const run = items[0]!.text!.startsWith("alpha") ? "alpha" : "beta";
          labeled[run] += 1;
          begun.resolve();
          if (run === "alpha") await gate.promise;
          return label(items, ...rest);
        },
      }),
    },
  );
  const [alpha, beta] = await Promise.all(
    (["alpha", "beta"] as const).map(async (name) => ({
      ...{ kind: "text" as const, model: MODEL, out: name },
      path: await writeLines(
        pipeline,
        name,
        Array.from({ length: 600 }, (_, i) => `${name} was good ${i}`),
      ),
    })),
  );
  const settings = { sliceItems: 20, windowSlices: 8 };
  const paused = pipeline.run(alpha!, settings);
  // If the test ends earlier, its own failure is the one to report.
  paused.catch(() => {});
  await begun.promise;
  const { run } = (await ledger.runs(1))[0]!;
  assert.equal(await ledger.pause(run), true);
  const before = labeled.alpha;
  gate.resolve();
  const other = await pipeline.run(beta!, settings);
  assert.equal(other.state, "succeeded");
  assert.ok(labeled.alpha <= before + 3, `${labeled.alpha - before} slices were begun while the run was paused`);
  assert.equal(labeled.beta, 30);
  const { state, committed } = (await ledger.progress(run))!;
  assert.deepEqual([state, committed], ["paused", labeled.alpha], "the running slices were finished");
  const planned = await ledger.plannedSlices(run);
  assert.ok(planned <= 8 + 1, `${planned} slices are planned`);
  const parked = await queue.getDelayed();
  assert.ok(parked.length >= 2, `${parked.length} slices are parked`);
  for (const { attemptsMade, stalledCounter } of parked) assert.deepEqual([attemptsMade, stalledCounter], [0, 0]);
  assert.equal(await ledger.resume(run), true);
  const { state: ended, store } = await paused;
  assert.equal(ended, "succeeded");
  assert.equal(labeled.alpha, 30, "no slice was labeled twice");
  assert.ok((await verifyOutput(store)).ok);
  assert.equal(await queue.getJobCountByTypes("waiting", "prioritized", "active", "delayed", "failed"), 0);
});

test("a run with too many rows in error stops early, without _SUCCESS, and reports the first of them", async () => {
  await using pipeline = await TestPipeline.open();
  const queue = await queueOf(pipeline);
  const path = await writeLines(
    pipeline,
    "texts",
    Array.from({ length: 1000 }, (_, i) => (i % 4 === 1 ? '""' : `good ${i}`)),
  );
  const running = pipeline.run(
    { kind: "text", path, model: MODEL, out: "out", settings: { maxErrors: "12" } },
    { sliceItems: 10, windowSlices: 20 },
  );
  const worker = await pipeline.worker({ threads: 1, concurrency: 1 });
  const { state, store, ledger, runFile } = await running;
  assert.equal(state, "failed");
  const { reason, committed, errors } = (await ledger.progress(runFile.run))!;
  assert.match(reason!, /^TOO_MANY_ERRORS: \d+ of \d+ rows are in error; the maximum is 12$/);
  assert.ok(errors > 12 && committed < 20, `${committed} slices of 100 were done`);
  const first = await ledger.firstErrors(runFile.run);
  assert.deepEqual(
    first.map(({ uri, code }) => [uri, code]),
    new Array(10).fill([runFile.inputs[0]!.uri, "EMPTY_TEXT"]),
  );
  for (const { record } of first) assert.equal(record % 4, 1);
  // Its slices are dropped without labeling: the queue becomes empty.
  while ((await queue.getJobCountByTypes("waiting", "prioritized", "active")) > 0);
  assert.ok((await ledger.progress(runFile.run))!.committed < 20);
  assert.ok(worker.engines[0]!.stats.items < 300);
  assert.deepEqual(await Array.fromAsync(store.list(SUCCESS_FILE)), []);
  const again = async (settings: { maxErrors?: string }) => {
    const request = { kind: "text", path, model: MODEL, out: "out", settings } as const;
    return (await pipeline.run(request, { sliceItems: 10, windowSlices: 20 })).state;
  };
  assert.equal(await again({ maxErrors: "12" }), "failed");
  assert.equal(await again({ maxErrors: "25%" }), "finished_with_errors", "resuming the run sets a new maximum");
});

test("an attempt that takes too long fails with SLICE_TIMEOUT; other slices and the next attempt succeed", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeLines(
    pipeline,
    "texts",
    Array.from({ length: 100 }, (_, i) => `good ${i}`),
  );
  const tries: number[] = [];
  let hangs = 1;
  await pipeline.worker(
    { threads: 1 },
    {
      around: ({ steps, label }) => ({
        steps,
        label: async (items, topK, signal, onAnswers) => {
          tries.push(items[0]!.record);
          if (items[0]!.record !== 20 || hangs-- <= 0) return label(items, topK, signal, onAnswers);
          if (!signal.aborted) await once(signal, "abort");
          throw signal.reason;
        },
      }),
    },
  );
  const request = { kind: "text", path, model: MODEL, settings: { sliceTimeoutMs: 1000 } } as const;
  const recovered = await pipeline.run({ ...request, out: "recovered" }, { sliceItems: 20 });
  assert.equal(recovered.state, "succeeded");
  assert.deepEqual(
    tries.sort((a, b) => a - b),
    [0, 20, 20, 40, 60, 80],
  );
  hangs = 2;
  const given = await pipeline.run({ ...request, out: "given" }, { sliceItems: 20, attempts: 2 });
  assert.equal(given.state, "failed");
  const { failed, totals } = (await readManifest(given.store))!;
  assert.deepEqual(
    failed.map(({ code, planned }) => [code, planned]),
    [["SLICE_TIMEOUT", [{ input: 0, first: 20, count: 20 }]]],
  );
  assert.equal(totals.labeled, 80);
});

test("a worker that parks a slice while its run is resumed moves the slice back", async () => {
  const calls: string[] = [];
  const run = "0123456789abcdef";
  const digest = "0".repeat(64);
  const item = { id: "a", source: 0, record: 0, text: "good" };
  const data = {
    ...{ v: JOB_VERSION, run, slice: 0, model: { id: "m", digest, task: "text-classification" }, output: "memory:x" },
    ...{ key: partKey(run, 0), topK: 1, events: "none", sources: ["file:///x"], items: [item] },
  };
  const queued = {
    ...{ id: jobId(run, 0), data, attemptsStarted: 2, priority: 1 },
    moveToDelayed: async () => void calls.push("parked"),
    promote: async () => void calls.push("called back"),
  };
  for (const paused of [true, false]) {
    const context = {
      served: { id: "m", digest, task: "text-classification" },
      log: createLogger("silent", false),
      concurrency: { take: () => ({ [Symbol.dispose]: () => {} }) },
      control: {
        watch: async () => ({ signal: never, paused: true, plan: "planned", [Symbol.dispose]: () => {} }),
        isPaused: async () => paused,
      },
    };
    const handled = handleSlice(
      queued as unknown as Parameters<typeof handleSlice>[0],
      "token",
      never,
      context as unknown as SliceContext,
    );
    await assert.rejects(handled, { name: "DelayedError" });
  }
  assert.deepEqual(calls, ["parked", "parked", "called back"]);
});

test("if a run is cancelled while its worker is disconnected, its slices stop when the connection is back", async (t) => {
  await using redis = await TcpRedis.start();
  const connection = await openRedis(redis.address, "producer");
  const subscriber = await openRedis({ url: redis.url }, "worker");
  try {
    const ledger = new RunLedger(connection);
    const about = { output: "memory:x", model: { id: "m", digest: "0".repeat(64) }, lane: "bulk" } as const;
    const control = await RunControl.open(new Channels(subscriber), ledger);
    const watch = async (run: string) => {
      await ledger.begin(run, about);
      return control.watch({ run, slice: 0 } as Job);
    };
    const cancelled = await watch("0".repeat(16));
    const other = await watch("1".repeat(16));
    const closed = once(subscriber, "close");
    redis.cut();
    await closed;
    assert.ok(await ledger.cancel("0".repeat(16)));
    // The first check fails, and is repeated.
    const checks = t.mock.method(ledger, "state", () => Promise.reject(new Error("LOADING")), { times: 1 });
    const aborted = once(cancelled.signal, "abort", { signal: AbortSignal.timeout(30_000) });
    redis.restore();
    await aborted;
    assert.equal(checks.mock.callCount(), 1);
    assert.equal(other.signal.aborted, false);
    for (const each of [cancelled, other]) each[Symbol.dispose]();
  } finally {
    connection.disconnect();
    subscriber.disconnect();
  }
});
