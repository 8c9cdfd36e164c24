import assert from "node:assert/strict";
import { once } from "node:events";
import { stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { planAndWatch } from "../../../src/producers/planning/plan-and-watch.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { Planner } from "../../../src/producers/planning/planner.ts";
import { RedisRoom } from "../../../src/producers/planning/redis-room.ts";
import { slicesOf } from "../../../src/producers/planning/run-slices.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { RunChanges } from "../../../src/runs/watch.ts";
import { KEY_PREFIX, PLANS_QUEUE, queueName } from "../../../src/schemas/names.ts";
import type { RunState } from "../../../src/schemas/run.ts";
import type { Source } from "../../../src/sources/source.ts";
import { TestPipeline, temporaryFolder, writeTexts } from "../../helpers/runs/pipeline.ts";

const MODEL = "tiny-sentiment";

const never = new AbortController().signal;

async function plansOf(pipeline: TestPipeline): Promise<Queue> {
  const queue = new Queue(PLANS_QUEUE, { connection: await pipeline.connection(), prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  return queue;
}

/** Settles when `check` is true of the run. */
async function until(
  pipeline: TestPipeline,
  run: string,
  check: (ledger: RunLedger) => Promise<boolean>,
): Promise<void> {
  const changes = await RunChanges.open(new Channels(await pipeline.connection()), run, 50);
  const ledger = new RunLedger(await pipeline.connection());
  await changes.until(() => check(ledger), never);
  changes.close();
}

const isIn = (state: RunState, run: string) => async (ledger: RunLedger) => (await ledger.state(run)) === state;

test("a submitted run is planned, labeled and closed by a worker", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 500);
  const request = { kind: "text", path, model: MODEL, out: "out" } as const;
  const { store, runFile } = await pipeline.submit(request, { sliceItems: 20 });
  const worker = await pipeline.worker({ threads: 1, windowSlices: 4 }, { plan: planFromRunFile });
  await until(pipeline, runFile.run, isIn("succeeded", runFile.run));
  const { ok, totals } = await verifyOutput(store);
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 25, planned: 500, labeled: 500, errors: 0 } });
  const { inferMs } = (await new RunLedger(await pipeline.connection()).progress(runFile.run))!;
  const all = worker.engines[0]!.stats.inferMs;
  assert.ok(inferMs > 0 && Math.abs(inferMs - all) < 1, `${inferMs} ms are the run's, of the model's ${all}`);
});

test("a run that cannot be planned fails with the reason before anything is queued", async () => {
  await using pipeline = await TestPipeline.open();
  const ledger = new RunLedger(await pipeline.connection());
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 50);
  const request = { kind: "text", path, model: MODEL } as const;
  const { runFile: changed } = await pipeline.submit({ ...request, out: "changed" });
  await writeFile(path, "id,text\n1,other\n");
  await using outside = await temporaryFolder();
  const elsewhere = await writeTexts(join(outside.path, "texts.csv"), 5);
  const { runFile: foreign } = await pipeline.submit({ ...request, path: elsewhere, out: "foreign" });
  // A run file that names a list on S3. The worker would open the list before it can know that it is not the input.
  const pictures = join(pipeline.folder, "pictures.txt");
  await writeFile(pictures, "https://example.com/a.jpg\n");
  const images = { kind: "images", path: pictures, model: "tiny-image" } as const;
  const { runFile: hostile, store } = await pipeline.submit({ ...images, out: "hostile" });
  const inputs = hostile.inputs.map((input) => ({ ...input, from: "@s3://not-granted/list.txt" }));
  await store.put("_run.json", Buffer.from(JSON.stringify({ ...hostile, inputs })));
  await pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  for (const [run, reason] of [
    [hostile.run, /^NOT_GRANTED: s3:\/\/not-granted/],
    [changed.run, /^INPUT_CHANGED: .*texts\.csv has changed since/],
    [foreign.run, /^NOT_GRANTED: /],
  ] as const) {
    await until(pipeline, run, isIn("failed", run));
    assert.match((await ledger.progress(run))!.reason!, reason);
    assert.equal(await ledger.plannedSlices(run), 0);
  }
});

test("a worker that is stopped gives its plan back at once, although its slices need time: another one continues", async () => {
  await using pipeline = await TestPipeline.open();
  const plans = await plansOf(pipeline);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 600);
  const request = { kind: "text", path, model: MODEL, out: "out" } as const;
  const { store, runFile } = await pipeline.submit(request, { sliceItems: 20 });
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const leaving = await pipeline.worker(
    { threads: 1, windowSlices: 4, graceMs: 60_000 },
    {
      plan: planFromRunFile,
      around: ({ steps, label }) => ({
        steps,
        label: async (...args) => {
          begun.resolve();
          await gate.promise;
          return label(...args);
        },
      }),
    },
  );
  await begun.promise;
  const closing = leaving.close();
  const id = `${runFile.run}-plan`;
  while ((await plans.getJobState(id)) !== "waiting");
  gate.resolve();
  await closing;
  const job = (await plans.getJob(id))!;
  const found = [await job.getState(), job.attemptsMade, job.stalledCounter];
  assert.deepEqual(found, ["waiting", 0, 0], "the leaving worker did not keep it");
  await pipeline.worker({ threads: 1, windowSlices: 4 }, { plan: planFromRunFile });
  await until(pipeline, runFile.run, isIn("succeeded", runFile.run));
  assert.ok((await verifyOutput(store)).ok);
});

test("the planning process is killed: another worker continues the plan, and every slice is labeled", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 3000);
  const request = { kind: "text", path, model: MODEL, out: "out", travels: "split" } as const;
  const settings = { lockMs: 1000, stallCheckMs: 500, backoffMs: 100, windowSlices: 6 };
  const { store, runFile } = await pipeline.submit(request, { sliceItems: 50 });
  const planner = await pipeline.spawnWorker({ model: MODEL, settings, plan: true });
  await until(pipeline, runFile.run, async (ledger) => ((await ledger.progress(runFile.run))?.committed ?? 0) >= 5);
  planner.kill("SIGKILL");
  await once(planner, "exit");
  await pipeline.worker({ threads: 1, windowSlices: 6 }, { plan: planFromRunFile });
  await until(pipeline, runFile.run, isIn("succeeded", runFile.run));
  const { ok, totals } = await verifyOutput(store);
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 60, planned: 3000, labeled: 3000, errors: 0 } });
});

/** The source, the positions at which its splitter began, and the bytes that it cut. */
function metered(source: Source): { source: Source; begun: number[]; bytes: () => number } {
  const begun: number[] = [];
  let bytes = 0;
  const { splitter } = source;
  const cuts: NonNullable<Source["splitter"]>["cuts"] = async function* (from, room, sample) {
    begun.push(from.offset ?? 0);
    for await (const cut of splitter!.cuts(from, room, sample)) {
      bytes += cut.bytes;
      yield cut;
    }
  };
  return { source: { ...source, splitter: { cuts } }, begun, bytes: () => bytes };
}

async function drive(
  pipeline: TestPipeline,
  redis: Redis,
  of: Awaited<ReturnType<TestPipeline["submit"]>>,
  source: Source,
) {
  const { runFile, store } = of;
  const ledger = new RunLedger(redis);
  const planner = new Planner(redis, ledger, runFile, store.uri, {
    ...{ lane: "bulk", windowSlices: 32, retries: { attempts: 5, backoffMs: 100 } },
    room: new RedisRoom(redis, 1_000, () => {}),
  });
  pipeline.defer(() => planner.close());
  const changes = await RunChanges.open(new Channels(await pipeline.connection()), runFile.run, 200);
  pipeline.defer(() => changes.close());
  const slices = slicesOf(runFile, [source]);
  return planAndWatch({ run: runFile.run, ledger, planner, changes, slices, onProgress: () => {} }, never);
}

test("planning continues at its position: earlier bytes are not read again, and lost slices come from the plan", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const ledger = new RunLedger(redis);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 3000);
  const request = { kind: "text", path, model: MODEL, out: "out", travels: "split" } as const;
  const submitted = await pipeline.submit(request, { sliceItems: 50 });
  const { run } = submitted.runFile;
  // No worker labels: it plans to the end of its window and is killed there.
  const planner = await pipeline.spawnWorker({ model: "tiny-image", settings: { windowSlices: 20 }, plan: true });
  await until(pipeline, run, async () => (await ledger.plannedSlices(run)) === 20);
  planner.kill("SIGKILL");
  await once(planner, "exit");
  const queue = new Queue(queueName(await loadBuiltIn(MODEL), "bulk"), { connection: redis, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  await queue.drain();
  const meter = metered(submitted.source);
  const driven = drive(pipeline, redis, submitted, meter.source);
  await pipeline.worker({ threads: 1 });
  assert.equal(await driven, "succeeded");
  const { size } = await stat(path);
  assert.equal(meter.begun.length, 1);
  assert.ok(meter.begun[0]! > size / 4, `it began at ${meter.begun[0]} of ${size}`);
  assert.ok(meter.bytes() <= size - meter.begun[0]!, `${meter.bytes()} bytes were cut`);
  const { ok, totals } = await verifyOutput(submitted.store);
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 60, planned: 3000, labeled: 3000, errors: 0 } });
  assert.equal((await ledger.progress(run))!.items, 3000, "the items before the position are counted");
  // A plan that is delivered a second time finds that its run has ended, and reads nothing.
  assert.equal(await planFromRunFile({ redis } as Parameters<typeof planFromRunFile>[0], run, never), "succeeded");
});

test("a run that is resumed while its planner leaves it is planned again", async () => {
  await using pipeline = await TestPipeline.open();
  const ledger = new RunLedger(await pipeline.connection());
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 5);
  const { runFile, store } = await pipeline.submit({ kind: "text", path, model: MODEL, out: "out" });
  const { run } = runFile;
  let plans = 0;
  await pipeline.worker(
    { threads: 1 },
    {
      plan: async () => {
        plans += 1;
        await ledger.submit(run, store.uri);
        await ledger.cancel(run);
        // A caller that submits it again finds that its plan is still running, and adds none.
        if (plans === 1) await ledger.submit(run, store.uri);
        return "cancelled";
      },
    },
  );
  const queue = await plansOf(pipeline);
  while ((await queue.getJobState(`${run}-plan`)) !== "unknown");
  assert.equal(plans, 2);
});
