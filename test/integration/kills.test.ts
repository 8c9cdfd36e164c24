import assert from "node:assert/strict";
import { once } from "node:events";
import { cp, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { verifyOutput } from "../../src/runs/verify.ts";
import { KILL_STEPS, type KillPoint, SLICE_ITEMS } from "../helpers/kill-points.ts";
import { FAST, TestPipeline, writeTexts } from "../helpers/pipeline.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/images/", import.meta.url));

/** Starts a worker again whenever one was killed, as a supervisor would, until `over`. */
async function supervise(
  pipeline: TestPipeline,
  model: string,
  kills: KillPoint[],
  over: AbortSignal,
): Promise<number> {
  for (let deaths = 0; ; deaths++) {
    const worker = await pipeline.spawnWorker({ model, kills });
    const stop = () => worker.kill("SIGTERM");
    over.addEventListener("abort", stop, { once: true });
    if (over.aborted) stop();
    if (worker.exitCode === null && worker.signalCode === null) await once(worker, "exit");
    if (worker.signalCode !== "SIGKILL") return deaths;
  }
}

async function runThroughKills(
  kind: "text" | "images",
  model: string,
  kills: KillPoint[],
  input: (folder: string) => Promise<string>,
) {
  await using pipeline = await TestPipeline.open();
  const over = new AbortController();
  const supervised = supervise(pipeline, model, kills, over.signal);
  const path = await input(pipeline.folder);
  const { state, store } = await pipeline.run(
    { kind, path, model, out: "out" },
    { sliceItems: SLICE_ITEMS, events: "parts" },
  );
  over.abort();
  const deaths = await supervised;
  const evidence = (await readdir(pipeline.folder)).filter((name) => /^[a-z]+-\d+-\d+$/.test(name));
  const expected = kills.flatMap(({ step, slice, times }) =>
    Array.from({ length: times }, (_, i) => `${step}-${slice}-${i}`),
  );
  assert.deepEqual(evidence.sort(), expected.sort(), "every kill happened");
  assert.equal(deaths, expected.length);
  assert.equal(state, "succeeded");
  return await verifyOutput(store);
}

test("10,000 texts and a kill -9 at each step, twice on the same slice: nothing lost, nothing doubled", async () => {
  const perSlice = KILL_STEPS.filter((step) => step !== "parts" && step !== "manifest");
  const kills: KillPoint[] = [
    ...perSlice.map((step, i) => ({ step, slice: 1 + 3 * i, times: 2 })),
    { step: "parts", slice: 0, times: 2 },
    { step: "manifest", slice: 0, times: 2 },
  ];
  const proof = await runThroughKills("text", "tiny-sentiment", kills, (folder) =>
    writeTexts(join(folder, "texts.csv"), 10_000),
  );
  assert.deepEqual(proof, {
    ok: true,
    run: proof.run,
    state: "succeeded",
    totals: { parts: 20, planned: 10_000, labeled: 10_000, errors: 0 },
    problems: [],
  });
});

test("300 images and a kill -9 between put and commit", async () => {
  const proof = await runThroughKills("images", "tiny-image", [{ step: "put", slice: 0, times: 2 }], async (folder) => {
    const images = join(folder, "images");
    await mkdir(images);
    for (let copy = 0; copy < 20; copy++) await cp(EXAMPLES, join(images, String(copy)), { recursive: true });
    return images;
  });
  assert.deepEqual(proof.totals, { parts: 1, planned: 300, labeled: 300, errors: 0 });
  assert.ok(proof.ok);
});

test("another worker takes over within the lock's time and two stall checks", async () => {
  await using pipeline = await TestPipeline.open();
  const model = "tiny-sentiment";
  const dying = await pipeline.spawnWorker({ model, kills: [{ step: "labeled", slice: 0, times: 1 }] });
  const death = once(dying, "exit").then(() => performance.now());
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), SLICE_ITEMS);
  const running = pipeline.run({ kind: "text", path, model, out: "out" }, { sliceItems: SLICE_ITEMS });
  const diedAt = await death;
  await pipeline.spawnWorker({ model });
  const { store, state } = await running;
  const seconds = (performance.now() - diedAt) / 1000;
  assert.equal(state, "succeeded");
  assert.ok((await verifyOutput(store)).ok);
  // The start of the second worker and the work itself come on top.
  const bound = (FAST.lockMs + 2 * FAST.stallCheckMs) / 1000 + 8;
  assert.ok(seconds < bound, `took ${seconds.toFixed(1)} s, expected under ${bound} s`);
});

test("an item that kills its worker costs one row, and at most four workers", async () => {
  await using pipeline = await TestPipeline.open();
  const model = "tiny-sentiment";
  let deaths = 0;
  const over = new AbortController();
  const supervised = (async () => {
    for (;;) {
      const worker = await pipeline.spawnWorker({ model, poison: "it was bad really 1" });
      const stop = () => worker.kill("SIGTERM");
      over.signal.addEventListener("abort", stop, { once: true });
      if (over.signal.aborted) stop();
      if (worker.exitCode === null && worker.signalCode === null) await once(worker, "exit");
      if (worker.signalCode !== "SIGKILL") return;
      deaths += 1;
    }
  })();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 60);
  const { state, store } = await pipeline.run({ kind: "text", path, model, out: "out" }, { sliceItems: 20 });
  over.abort();
  await supervised;
  assert.equal(state, "finished_with_errors");
  const proof = await verifyOutput(store);
  assert.deepEqual(
    { ok: proof.ok, totals: proof.totals },
    { ok: true, totals: { parts: 3, planned: 60, labeled: 59, errors: 1 } },
  );
  assert.ok(deaths >= 3 && deaths <= 4, `${deaths} workers died`);
});
