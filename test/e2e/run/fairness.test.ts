import assert from "node:assert/strict";
import { once } from "node:events";
import { join } from "node:path";
import { test } from "node:test";
import { KEY_PREFIX } from "../../../src/schemas/names.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";

const MODEL = "tiny-sentiment";
const BIG_ITEMS = 100_000;
/** Items a batch that only batches with items of several submissions reach. */
const SHARED_MEAN = 16;

/** Starts a run of 100,000 texts and waits for its first slice. The run continues until the end of the test. */
async function bigRun(pipeline: TestPipeline, sliceItems: number) {
  const path = await writeTexts(join(pipeline.folder, "big.csv"), BIG_ITEMS);
  const redis = await pipeline.connection();
  await redis.psubscribe(`${KEY_PREFIX}:run:*:changed`);
  const over = new AbortController();
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "big" }, { sliceItems }, over.signal);
  const stopped = assert.rejects(running);
  pipeline.defer(async () => {
    over.abort();
    await stopped;
  });
  const [, channel] = await once(redis, "pmessage");
  await redis.punsubscribe();
  const key = (channel as string).replace(/:changed$/, "");
  return {
    /** The number of its finished slices. */
    committed: async () => Number(await redis.hget(key, "committed")),
  };
}

test("a small run takes turns with a run of 100,000 items from its submission on", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.spawnWorker({ model: MODEL, settings: {} });
  const sliceItems = 200;
  const big = await bigRun(pipeline, sliceItems);
  for (const slices of [1, 4]) {
    const path = await writeTexts(join(pipeline.folder, `small-${slices}.csv`), slices * sliceItems);
    const before = await big.committed();
    const { state } = await pipeline.run({ kind: "text", path, model: MODEL, out: `small-${slices}` }, { sliceItems });
    const meanwhile = (await big.committed()) - before;
    assert.equal(state, "succeeded");
    // One turn for each own slice, the slices that were running at its start, and a few until its end is seen. Without turns: 32, the window.
    assert.ok(
      meanwhile <= slices + 8,
      `${meanwhile} slices of the big run were done while ${slices} of the small one were`,
    );
  }
});

test("200 single texts during a bulk run wait only for running slices, and the bulk run continues", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.spawnWorker({ model: MODEL, settings: {} });
  const big = await bigRun(pipeline, 500);
  const producer = await pipeline.producer();
  const before = await big.committed();
  /** The number of slices of the big run that finished while each single waited. */
  const passed: number[] = [];
  const single = async (i: number) => {
    const at = await big.committed();
    const run = await producer.submit({ model: MODEL, texts: [`it was a fine day, number ${i}`] });
    assert.equal((await run.wait()).state, "succeeded");
    passed.push((await big.committed()) - at);
  };
  // Twenty at a time, so that they are spread over the bulk run.
  for (let i = 0; i < 200; i += 20) await Promise.all(Array.from({ length: 20 }, (_, j) => single(i + j)));
  passed.sort((a, b) => a - b);
  const p99 = passed[Math.ceil(passed.length * 0.99) - 1]!;
  assert.ok(p99 <= 2, `${p99} slices of the bulk run finished while a single text waited`);
  assert.ok((await big.committed()) > before, "the bulk run continues");
});

test("200 single texts that are submitted together share batches", async () => {
  await using pipeline = await TestPipeline.open();
  const worker = await pipeline.worker();
  const producer = await pipeline.producer();
  /** @returns items per batch */
  const round = async (): Promise<number> => {
    const before = { ...worker.engines[0]!.stats };
    const texts = Array.from({ length: 200 }, (_, i) => `it was a good day, number ${i}`);
    const runs = await Promise.all(texts.map((text) => producer.submit({ model: MODEL, texts: [text] })));
    for (const run of runs) assert.equal((await run.wait()).state, "succeeded");
    const { items, batches } = worker.engines[0]!.stats;
    assert.equal(items - before.items, 200);
    return (items - before.items) / (batches - before.batches);
  };
  // A worker that has just started knows neither the lengths of texts nor its best budget.
  await round();
  const means: number[] = [];
  // The best round counts: the load of the machine changes the arrival rate. If batches were cut at once, it would be at most 13.
  while (means.length < 30 && !means.some((mean) => mean >= SHARED_MEAN)) means.push(await round());
  assert.ok(Math.max(...means) >= SHARED_MEAN, `items a batch: ${means.map((mean) => mean.toFixed(1)).join(", ")}`);
});
