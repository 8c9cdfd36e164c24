import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { WorkerOptions } from "../../../src/workers/worker.ts";
import { gradient } from "../../helpers/inputs/images.ts";
import { currentWork } from "../../helpers/model-work.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { BATCH_MS, idleShare, SlowRuns } from "../../helpers/runs/slow-runs.ts";
import { hostileServer } from "../../helpers/servers/hostile-server.ts";

/** Delay of a store or a server: many batches. Without overlap the model would be idle for nine tenths of the time. */
const SLOW_MS = 9 * BATCH_MS;
/** Of a model for which items wait all the time: its first items are on their way alone, and other processes take the cores. */
const MOST_IDLE = 0.5;

const slowCommits: NonNullable<WorkerOptions["around"]> = ({ steps, label }) => ({
  label,
  steps: {
    ...steps,
    commit: async (job, part) => {
      await delay(SLOW_MS);
      return steps.commit(job, part);
    },
  },
});

test("texts: the model runs while slices are taken, tokenized, written and committed, and the worker logs the times", async () => {
  await using pipeline = await TestPipeline.open();
  using slow = new SlowRuns();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 1000);
  const input = { kind: "text", path, model: "tiny-sentiment", out: "out" } as const;
  const running = pipeline.run(input, { sliceItems: 50, windowSlices: 20 });
  const worker = await pipeline.worker(
    { threads: 1, textBudget: 512 },
    { thread: SlowRuns.THREAD, around: slowCommits },
  );
  assert.equal((await running).state, "succeeded");
  await slow.until(1000);
  const idle = idleShare(slow.runs);
  assert.ok(idle < MOST_IDLE, `idle for ${idle} of the time`);

  const { stats } = worker.engines[0]!;
  const work = await currentWork(pipeline);
  assert.ok(work.busy.sinceStart! > 0.2 && work.busy.lastMinute === work.busy.sinceStart, JSON.stringify(work.busy));
  assert.equal(work.paddingEfficiency, stats.realCost / stats.paddedCost);
  assert.equal(work.meanBatch, 1000 / slow.runs.length);
  assert.equal(work.cuts.full + work.cuts.drained + work.cuts.lengths, slow.runs.length);
  assert.deepEqual([work.threads, work.depth, work.settled], [1, 0, true]);
  const { wait, fetch, prepare, queue, infer, write } = work.stages;
  assert.deepEqual(
    [wait, fetch, prepare, queue, infer, write].map(({ count }) => count),
    [20, 0, 1000, 1000, 1000, 20],
  );
  assert.equal(fetch.meanMs, null);
  assert.ok(wait.meanMs! > BATCH_MS, "most slices waited for those before them");
  assert.ok(infer.meanMs! >= BATCH_MS / work.meanBatch!, "an item's part of its batch");
  assert.ok(queue.meanMs! > 0 && prepare.meanMs! > 0);
  // Timers may fire a fraction of a millisecond early.
  assert.ok(write.meanMs! > SLOW_MS - 1, `${write.meanMs} ms`);
});

test("images: while a batch runs, the next images are fetched from a slow server and decoded, also for small slices", async () => {
  await using pipeline = await TestPipeline.open();
  using slow = new SlowRuns();
  const picture = await gradient(48, 48).jpeg().toBuffer();
  await using server = await hostileServer((response) => setTimeout(() => response.end(picture), SLOW_MS));
  const path = join(pipeline.folder, "images.csv");
  const urls = Array.from({ length: 240 }, (_, at) => `${server.origin}/${at}.jpg`);
  await writeFile(path, `url\n${urls.join("\n")}\n`);
  const input = { kind: "images", path, model: "tiny-image", out: "out" } as const;
  const running = pipeline.run(input, { sliceItems: 8 });
  await pipeline.worker(
    { threads: 1, imageBudget: 8, imagesInFlight: 128, allowPrivate: true },
    { models: ["tiny-image"], thread: SlowRuns.THREAD },
  );
  assert.equal((await running).state, "succeeded");
  await slow.until(240);
  const idle = idleShare(slow.runs);
  assert.ok(idle < MOST_IDLE, `idle for ${idle} of the time`);

  const { stages, paddingEfficiency } = await currentWork(pipeline);
  const { wait, fetch, prepare, write } = stages;
  assert.deepEqual([wait.count, fetch.count, prepare.count, write.count], [30, 240, 240, 30]);
  assert.ok(fetch.meanMs! > SLOW_MS - 1 && prepare.meanMs! > 0 && write.meanMs! > 0);
  assert.equal(paddingEfficiency, 1);
});
