import assert from "node:assert/strict";
import { once } from "node:events";
import { cp, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { verifyOutput } from "../../../../src/outputs/verify/verify.ts";
import { KILL_STEPS, type KillPoint } from "../../../helpers/runs/kill-points.ts";
import { FAST, TestPipeline, writeTexts } from "../../../helpers/runs/pipeline.ts";
import { startTestS3 } from "../../../helpers/servers/s3-server.ts";
import { endOf, supervise } from "../../../helpers/supervise.ts";

const EXAMPLES = fileURLToPath(new URL("../../../../examples/images/", import.meta.url));

/**
 * Processes start one after the other, and each waits for the locks of the one before: this takes minutes on a busy
 * machine.
 */
const MANY_STARTS = { timeout: 600_000 };

/** `times` kills at each step of a slice, all on the same slice, and as many while the run is closed. */
function killsAtEachStep(everySlices: number, times: number): KillPoint[] {
  const ofSlices = KILL_STEPS.filter((step) => !["file", "parts", "manifest", "removed"].includes(step));
  return [
    ...ofSlices.map((step, i) => ({ step, slice: 1 + everySlices * i, times })),
    { step: "parts", slice: 0, times },
    { step: "manifest", slice: 0, times },
  ];
}

async function runThroughKills(
  kind: "text" | "images",
  { sliceItems, everySlices, times }: { sliceItems: number; everySlices: number; times: number },
  input: (folder: string) => Promise<string>,
  place: { out: string; settings: Record<string, unknown> } = { out: "out", settings: {} },
) {
  await using pipeline = await TestPipeline.open();
  const over = new AbortController();
  const model = kind === "text" ? "tiny-sentiment" : "tiny-image";
  const kills = killsAtEachStep(everySlices, times);
  const supervised = supervise(
    pipeline,
    // Few slices in hand: of many, other slices would lose their worker too and run isolated before their own kills.
    { model, kills, settings: { ...FAST, sliceItems, concurrency: 2, ...place.settings } },
    over.signal,
  );
  const path = await input(pipeline.folder);
  const run = pipeline.run({ kind, path, model, out: place.out }, { sliceItems, events: "parts", ...place.settings });
  const { state, store } = await endOf(run, supervised).finally(() => over.abort());
  const crashes = await supervised;
  const evidence = (await readdir(pipeline.folder)).filter((name) => /^[a-z]+-\d+-\d+$/.test(name));
  const expected = kills.flatMap(({ step, slice, times }) =>
    Array.from({ length: times }, (_, i) => `${step}-${slice}-${i}`),
  );
  assert.deepEqual(evidence.sort(), expected.sort(), "every kill happened");
  assert.equal(crashes, expected.length);
  assert.equal(state, "succeeded");
  return await verifyOutput(store);
}

test(
  "10,000 texts and a kill -9 at each step, twice on the same slice: nothing lost, nothing doubled",
  MANY_STARTS,
  async () => {
    const proof = await runThroughKills("text", { sliceItems: 500, everySlices: 3, times: 2 }, (folder) =>
      writeTexts(join(folder, "texts.csv"), 10_000),
    );
    assert.deepEqual(proof, {
      ok: true,
      run: proof.run,
      state: "succeeded",
      totals: { parts: 20, planned: 10_000, labeled: 10_000, errors: 0 },
      problems: [],
    });
  },
);

test("one kill at each step over S3: nothing lost, nothing doubled", MANY_STARTS, async () => {
  await using server = await startTestS3();
  const bucket = await server.makeBucket();
  const { endpoint, region, pathStyle } = server.settings;
  const settings = { s3Endpoint: endpoint, s3Region: region, s3PathStyle: pathStyle, s3Roots: [`s3://${bucket}`] };
  const { ok, totals } = await runThroughKills(
    "text",
    { sliceItems: 125, everySlices: 3, times: 1 },
    (folder) => writeTexts(join(folder, "texts.csv"), 2_500),
    { out: `s3://${bucket}/out/`, settings },
  );
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 20, planned: 2_500, labeled: 2_500, errors: 0 } });
});

test("300 images and a kill -9 at each step: nothing lost, nothing doubled", async () => {
  const proof = await runThroughKills("images", { sliceItems: 30, everySlices: 1, times: 1 }, async (folder) => {
    const images = join(folder, "images");
    await mkdir(images);
    for (let copy = 0; copy < 20; copy++) await cp(EXAMPLES, join(images, String(copy)), { recursive: true });
    return images;
  });
  assert.deepEqual(proof.totals, { parts: 10, planned: 300, labeled: 300, errors: 0 });
  assert.ok(proof.ok);
});

test("another worker takes over within the lock time and two stall checks", async () => {
  await using pipeline = await TestPipeline.open();
  const model = "tiny-sentiment";
  const sliceItems = 100;
  // The worker that takes the one slice dies; the other one is idle.
  const kills: KillPoint[] = [{ step: "labeled", slice: 0, times: 1 }];
  const settings = { ...FAST, sliceItems };
  const workers = await Promise.all([1, 2].map(() => pipeline.spawnWorker({ model, kills, settings })));
  const death = Promise.race(workers.map((worker) => once(worker, "exit"))).then(() => performance.now());
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), sliceItems);
  const { store, state } = await pipeline.run({ kind: "text", path, model, out: "out" }, { sliceItems });
  const tookMs = performance.now() - (await death);
  assert.equal(state, "succeeded");
  assert.ok((await verifyOutput(store)).ok);
  // Plus the work itself, on a machine that may be busy.
  const boundMs = FAST.lockMs + 2 * FAST.stallCheckMs + 3000;
  assert.ok(tookMs < boundMs, `took ${Math.round(tookMs)} ms, expected under ${boundMs}`);
});

test("an item that kills its worker costs one row, and at most five workers", async () => {
  await using pipeline = await TestPipeline.open();
  const model = "tiny-sentiment";
  const over = new AbortController();
  const supervised = supervise(pipeline, { model, poison: "it was bad really 1" }, over.signal);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 60);
  const run = pipeline.run({ kind: "text", path, model, out: "out" }, { sliceItems: 20 });
  const { state, store } = await endOf(run, supervised).finally(() => over.abort());
  const crashes = await supervised;
  assert.equal(state, "finished_with_errors");
  const proof = await verifyOutput(store);
  assert.deepEqual(
    { ok: proof.ok, totals: proof.totals },
    { ok: true, totals: { parts: 3, planned: 60, labeled: 59, errors: 1 } },
  );
  assert.ok(crashes >= 3 && crashes <= 5, `${crashes} workers died`);
});
