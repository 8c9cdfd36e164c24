import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine, type Prepared } from "../../../src/inference/engine.ts";
import type { Lane } from "../../../src/schemas/names.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";
import { callsOf, runsOf, SCRIPTED_THREAD, writeScripted } from "../../helpers/threads/scripted-session.ts";

const TOKENS = 20;
const BATCH_TEXTS = 4;
/** Long enough for the main thread to take the next batch back. */
const BATCH_MS = 250;

test("a bulk batch that is ready on an inference thread is skipped and runs later, once", async () => {
  await using root = await temporaryFolder();
  const model = await writeScripted(root.path, "text", { ms: { cpu: BATCH_MS } });
  await using engine = await Engine.start({
    ...{ model, cores: 1, threads: 1, intraOpThreads: 1, thread: SCRIPTED_THREAD },
    budget: BATCH_TEXTS * TOKENS,
  });
  const runs = async () => runsOf(await callsOf(model)).map(({ shape }) => shape.rows);
  const trials = (await runs()).length;
  const ends: string[] = [];
  const label = async (name: string, count: number, lane: Lane) => {
    const items: Prepared[] = Array.from({ length: count }, () => ({ tokens: new Int32Array(TOKENS).fill(7) }));
    const outcomes = await engine.label(items, 1, undefined, undefined, lane);
    assert.ok(outcomes.length === count && outcomes.every((outcome) => "labels" in outcome));
    ends.push(name);
  };
  const calls = ["first", "second", "third"].map((name) => label(name, BATCH_TEXTS, "bulk"));
  while (engine.stats.batches < 2) await new Promise(setImmediate);
  calls.push(label("single", 1, "interactive"));
  await Promise.all(calls);
  assert.deepEqual(ends, ["first", "single", "second", "third"]);
  assert.deepEqual([engine.stats.items, engine.stats.lanes.bulk.items], [3 * BATCH_TEXTS + 1, 3 * BATCH_TEXTS]);
  const ran = (await runs()).slice(trials);
  assert.equal(
    ran.reduce((sum, rows) => sum + rows, 0),
    3 * BATCH_TEXTS + 1,
    "no item runs twice",
  );
  assert.equal(engine.held, 0);
});
