import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, watch } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { heartbeatTtlMs } from "../../../src/fleet/heartbeat.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { readPart } from "../../../src/rows/part.ts";
import type { ObjectStore } from "../../../src/storage/store.ts";
import type { WrappableSteps } from "../../../src/workers/model-service.ts";
import type { LabelItems } from "../../../src/workers/slice/label-items.ts";
import { FAST, TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { endOf, supervise } from "../../helpers/supervise.ts";

const MODEL = "tiny-sentiment";
/** Pieces of an isolated slice: at least seven. */
const SLICE_ITEMS = 49;
const SLICES = 2;
const SEED = 20_261_129;

/** Numbers from 0 up to `bound`, excluded, the same at each run (mulberry32). */
function random(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
  };
}

/** Two kills that isolate slices, then more kills, in the piece that runs at that moment. */
function schedule(seed: number, kills: number): number[] {
  const below = random(seed);
  return Array.from({ length: kills }, (_, i) => 1 + below(i < 2 ? SLICES : 7));
}

/** The records in error, with their codes. */
async function errorsIn(store: ObjectStore): Promise<[number, string][]> {
  const found: [number, string][] = [];
  for await (const { key } of store.list("part-"))
    for (const row of readPart(await store.get(key)).rows)
      if ("error" in row) found.push([row.source.record, row.error.code]);
  return found;
}

async function runThroughKills(outside: number[], poison?: string) {
  await using pipeline = await TestPipeline.open();
  const over = new AbortController();
  const options = { model: MODEL, outside, ...(poison === undefined ? {} : { poison }) };
  const supervised = supervise(pipeline, options, over.signal);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), SLICES * SLICE_ITEMS);
  const run = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: SLICE_ITEMS });
  const { store } = await endOf(run, supervised).finally(() => over.abort());
  const crashes = await supervised;
  const kills = (await readdir(pipeline.folder)).filter((name) => name.startsWith("outside-"));
  assert.equal(kills.length, outside.length, "every kill happened");
  const { ok, totals } = await verifyOutput(store);
  assert.ok(ok);
  assert.equal(totals.labeled + totals.errors, SLICES * SLICE_ITEMS);
  return { crashes, errors: await errorsIn(store) };
}

test("kills from outside put no row in error, whatever they hit", async (t) => {
  const outside = schedule(SEED, 8);
  t.diagnostic(`seed ${SEED}: killed at calls ${outside}`);
  assert.deepEqual(await runThroughKills(outside), { crashes: 8, errors: [] });
});

test("with an item that kills its worker and kills from outside, only that item is in error", async (t) => {
  const outside = schedule(SEED + 1, 5);
  t.diagnostic(`seed ${SEED + 1}: killed at calls ${outside}`);
  const { crashes, errors } = await runThroughKills(outside, "it was awful really really really 57");
  assert.deepEqual(errors, [[57, "ITEM_CRASHED_WORKER"]]);
  assert.ok(crashes <= 5 + outside.length, `${crashes} workers died`);
});

/** Resolves when a file to which others append has `count` lines. */
async function untilLines(path: string, count: number): Promise<string[]> {
  for (;;) {
    // Watched before it is read, so that a line in between is noticed.
    const watcher = watch(path);
    try {
      const changed = once(watcher, "change");
      changed.catch(() => {});
      const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
      if (lines.length >= count) return lines;
      await changed;
    } finally {
      watcher.close();
    }
  }
}

/** A run of one slice whose labeler waits, and a file with the number of items of each call of the labeler. */
async function heldRun(pipeline: TestPipeline) {
  const [calls, holdFor] = [join(pipeline.folder, "calls"), join(pipeline.folder, "go")];
  await writeFile(calls, "");
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), SLICE_ITEMS);
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: SLICE_ITEMS });
  running.catch(() => {});
  const spawn = () => pipeline.spawnWorker({ model: MODEL, calls, holdFor, settings: { ...FAST, graceMs: 100 } });
  return {
    spawn,
    taken: (times: number) => untilLines(calls, times),
    async finish(): Promise<void> {
      await writeFile(holdFor, "");
      const { state, store } = await running;
      assert.equal(state, "succeeded");
      assert.equal((await verifyOutput(store)).totals.labeled, SLICE_ITEMS);
    },
  };
}

test("workers that are stopped one after the other during a slice do not isolate it", {
  timeout: 60_000,
}, async () => {
  await using pipeline = await TestPipeline.open();
  const run = await heldRun(pipeline);
  for (let times = 1; times <= 4; times++) {
    const worker = await run.spawn();
    await run.taken(times);
    worker.kill("SIGTERM");
    await once(worker, "exit");
  }
  await run.spawn();
  assert.deepEqual(await run.taken(5), Array(5).fill(String(SLICE_ITEMS)), "each call had the whole slice");
  await run.finish();
});

test("workers that are frozen past their locks and continue later do not count as dead", {
  timeout: 60_000,
}, async () => {
  await using pipeline = await TestPipeline.open();
  const run = await heldRun(pipeline);
  const first = await run.spawn();
  await run.taken(1);
  first.kill("SIGSTOP");
  const other = await run.spawn();
  await run.taken(2);
  // The first one runs again before a worker checks; the second one is frozen now.
  first.kill("SIGCONT");
  other.kill("SIGSTOP");
  await run.taken(3);
  other.kill("SIGCONT");
  first.kill("SIGSTOP");
  assert.deepEqual(await run.taken(4), Array(4).fill(String(SLICE_ITEMS)), "each call had the whole slice");
  first.kill("SIGCONT");
  await run.finish();
});

test("Redis frozen twice under load, past every lock and beat, isolates no slice", {
  timeout: 60_000,
}, async () => {
  await using pipeline = await TestPipeline.open();
  const calls: number[] = [];
  const released = Promise.withResolvers<void>();
  let onCall = () => {};
  const around = ({ steps, label }: WrappableSteps): WrappableSteps => {
    const held: LabelItems = async (items, ...rest) => {
      calls.push(items.length);
      onCall();
      await released.promise;
      return label(items, ...rest);
    };
    return { steps, label: held };
  };
  const called = async (times: number) => {
    while (calls.length < times)
      await new Promise<void>((resolve) => {
        onCall = resolve;
      });
  };
  // Workers with slices take no more.
  const serve = () => Promise.all(Array.from({ length: SLICES }, () => pipeline.worker({}, { around })));
  await serve();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), SLICES * SLICE_ITEMS);
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: SLICE_ITEMS });
  await called(SLICES);
  for (const freeze of [1, 2]) {
    await serve();
    pipeline.redis.signal("SIGSTOP");
    await delay(FAST.lockMs + heartbeatTtlMs(FAST.lockMs));
    pipeline.redis.signal("SIGCONT");
    await called((1 + freeze) * SLICES);
  }
  released.resolve();
  const { state, store } = await running;
  assert.deepEqual(
    calls.filter((items) => items !== SLICE_ITEMS),
    [],
    "each call had a whole slice",
  );
  assert.equal(state, "succeeded");
  assert.equal((await verifyOutput(store)).totals.labeled, SLICES * SLICE_ITEMS);
});
