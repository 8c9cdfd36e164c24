import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { type Config, loadConfig } from "../../../src/config.ts";
import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { startWorker } from "../../../src/workers/worker.ts";
import { FAST, TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";

const MODEL = "tiny-sentiment";
/** Two batches of short texts, for one thread. */
const FULL_AT = 64;

/** A worker whose labeler keeps every slice until it is released, and lists each slice that it took. */
async function holdingWorker(pipeline: TestPipeline, settings: Partial<Config> = {}) {
  const taken: { items: number; through: (count: number) => void; letGo: () => void }[] = [];
  let heard = Promise.withResolvers<void>();
  let open = false;
  const worker = await startWorker({
    redis: pipeline.redis.address,
    config: loadConfig({ flags: { threads: 1, ...FAST, ...settings } }),
    models: [await loadBuiltIn(MODEL)],
    s3: new S3(),
    roots: { files: [pipeline.folder], s3: [] },
    log: createLogger("silent", false),
    around: ({ steps, label }) => ({
      steps,
      label: async (items, topK, signal, onAnswers) => {
        const gate = Promise.withResolvers<void>();
        taken.push({ items: items.length, through: (count) => onAnswers?.(count, 1), letGo: gate.resolve });
        heard.resolve();
        if (!open) await gate.promise;
        return label(items, topK, signal);
      },
    }),
  });
  pipeline.defer(() => worker.close());
  return {
    taken,
    /** Settles when `count` slices are taken. */
    async until(count: number) {
      while (taken.length < count) {
        await heard.promise;
        heard = Promise.withResolvers<void>();
      }
    },
    openGate() {
      open = true;
      for (const { letGo } of taken) letGo();
    },
  };
}

/** Long enough for the worker to take several more slices, if it did. */
async function aFewRoundTrips(pipeline: TestPipeline): Promise<void> {
  const redis = await openRedis(pipeline.redis.address, "producer");
  for (let i = 0; i < 300; i++) await redis.ping();
  redis.disconnect();
}

test("small slices are taken while others run, until two batches for each thread are in hand", async () => {
  await using pipeline = await TestPipeline.open();
  const worker = await holdingWorker(pipeline);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 100);
  const settings = { sliceItems: 1, windowSlices: 200 };
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, settings);
  await worker.until(FULL_AT);
  await aFewRoundTrips(pipeline);
  assert.equal(worker.taken.length, FULL_AT, "no slice is taken while enough items are in hand");
  worker.openGate();
  assert.equal((await running).state, "succeeded");
  assert.equal(worker.taken.length, 100);
});

test("a large slice is enough; the next one is taken when little of it is left, before it ends", async () => {
  await using pipeline = await TestPipeline.open();
  const worker = await holdingWorker(pipeline);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 300);
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 100 });
  await worker.until(1);
  await aFewRoundTrips(pipeline);
  assert.equal(worker.taken.length, 1);
  worker.taken[0]!.through(100 - FULL_AT);
  await aFewRoundTrips(pipeline);
  assert.equal(worker.taken.length, 1, "two batches are still in hand");
  worker.taken[0]!.through(1);
  await worker.until(2);
  worker.openGate();
  assert.equal((await running).state, "succeeded");
});

test("at most --concurrency slices run at a time", async () => {
  await using pipeline = await TestPipeline.open();
  const worker = await holdingWorker(pipeline, { concurrency: 5 });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 20);
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 1 });
  await worker.until(5);
  await aFewRoundTrips(pipeline);
  assert.equal(worker.taken.length, 5);
  worker.openGate();
  assert.equal((await running).state, "succeeded");
});

test("a worker leaves each other worker as many slices as it has itself", async () => {
  await using pipeline = await TestPipeline.open();
  const workers = [await holdingWorker(pipeline), await holdingWorker(pipeline)];
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 12);
  const settings = { sliceItems: 1, windowSlices: 200 };
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, settings);
  const takenBy = () => workers.map(({ taken }) => taken.length);
  do await aFewRoundTrips(pipeline);
  while (takenBy()[0]! + takenBy()[1]! < 4);
  const inHand = takenBy();
  const waiting = 12 - inHand[0]! - inHand[1]!;
  for (const count of inHand) assert.ok(count <= 5, `${inHand} taken, ${waiting} waiting`);
  assert.ok(waiting >= Math.min(...inHand), `${inHand} taken, ${waiting} waiting`);
  for (const worker of workers) worker.openGate();
  assert.equal((await running).state, "succeeded");
  assert.equal(workers[0]!.taken.length + workers[1]!.taken.length, 12);
});
