import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Engine, type EngineOptions } from "../../../src/inference/engine.ts";
import type { Model } from "../../../src/inference/model/model.ts";
import { Runner } from "../../../src/inference/runner.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import type { TimedScript } from "../../helpers/threads/timed-session-thread.ts";

const thread = new URL("../../helpers/threads/timed-session-thread.ts", import.meta.url);

let root: string;
let model: Model;
before(async () => {
  root = await mkdtemp(join(tmpdir(), "labelmill-search-"));
  model = await loadBuiltIn("tiny-sentiment");
});
after(() => rm(root, { recursive: true }));

function start(script: TimedScript, options: Partial<EngineOptions> = {}): Promise<Engine> {
  return Engine.start({ model: { ...model, modelFile: JSON.stringify(script) }, cores: 2, thread, ...options });
}

/** Labels texts of 20 tokens until the engine is settled or has run this many batches. */
async function load(engine: Engine, batches: number): Promise<void> {
  const texts = Array.from({ length: 200 }, () => ({ tokens: new Int32Array(20).fill(7) }));
  let labeled = 0;
  const feed = async () => {
    while (engine.stats.batches < batches && !engine.settled) {
      const outcomes = await engine.label(texts, 1);
      labeled += outcomes.length;
    }
  };
  await Promise.all(Array.from({ length: 8 }, feed));
  assert.equal(engine.stats.items, labeled, "every item has its answer, also after changes of the layout");
}

describe("Engine's search", () => {
  it("finds the faster thread layout and the budgets, and stores both", async () => {
    // A session with two threads is 2.5 times as fast as one with one thread, so it is faster than two of those.
    const script = { leastMs: 4, msPerCost: { 1: 0.01, 2: 0.004 } };
    const tuningFile = join(root, "a/tuning.json");
    const engine = await start(script, { tuningFile });
    assert.deepEqual(engine.layout, { threads: 2, intraOpThreads: 1 });
    await load(engine, 2000);
    assert.ok(engine.settled);
    assert.deepEqual(engine.layout, { threads: 1, intraOpThreads: 2 });
    await engine.close();

    const written = JSON.parse(await readFile(tuningFile, "utf8"));
    assert.deepEqual(written.layout, { threads: 1, intraOpThreads: 2 });
    await using again = await start(script, { tuningFile });
    assert.deepEqual(again.layout, { threads: 1, intraOpThreads: 2 });
    await load(again, 1);
    assert.ok(again.settled, "no search starts again");
    assert.deepEqual(again.budgets, written.budgets);
  });

  it("returns to the first layout if the other one is slower", async () => {
    await using engine = await start({ leastMs: 4, msPerCost: { 1: 0.01, 2: 0.01 } });
    await load(engine, 2000);
    assert.ok(engine.settled);
    assert.deepEqual(engine.layout, { threads: 2, intraOpThreads: 1 });
  });

  it("requests one change of layout at a time, also while batches still run", async () => {
    const script = { leastMs: 0, msPerCost: { 1: 0, 2: 0 } };
    const runner = await Runner.start({ model: { ...model, modelFile: JSON.stringify(script) }, cores: 2, thread });
    const ran = () => {
      const cost = runner.next(20);
      return runner.recordBatch({
        length: 20,
        paddedCost: cost,
        realCost: cost,
        ms: cost,
        reason: "full",
        isShort: false,
      });
    };
    let batches = 0;
    while (!ran()) assert.ok(++batches < 1000, "a change is requested");
    for (let more = 0; more < 50; more++) assert.equal(ran(), false);
    assert.equal(await runner.changeLayout(), 1);
    await runner.close();
  });

  it("leaves short batches out, but learns the speed from them", async () => {
    const script = { leastMs: 0, msPerCost: { 1: 0, 2: 0 } };
    await using open = new AsyncDisposableStack();
    const runner = await Runner.start({ model: { ...model, modelFile: JSON.stringify(script) }, cores: 2, thread });
    open.defer(() => runner.close());
    const before = [runner.peek(20), runner.reach, runner.settled];
    assert.equal(runner.within(20, 100), Number.POSITIVE_INFINITY, "not measured yet");
    for (let batches = 0; batches < 1000; batches++) {
      const batch = { length: 20, paddedCost: 400, realCost: 400, ms: 200, reason: "full", isShort: true } as const;
      assert.equal(runner.recordBatch(batch), false);
    }
    assert.deepEqual([runner.peek(20), runner.reach, runner.settled], before);
    assert.equal(runner.next(20), runner.peek(20), "the budget is not measured yet");
    assert.equal(runner.within(20, 100), 200);
  });

  it("keeps given threads and a given budget", async () => {
    const script = { leastMs: 1, msPerCost: { 1: 0.01, 2: 0.001 } };
    await using engine = await start(script, { threads: 2, budget: 100 });
    await load(engine, 100);
    assert.deepEqual(engine.layout, { threads: 2, intraOpThreads: 1 });
    assert.ok(engine.stats.items / engine.stats.batches <= 5, "100 tokens hold five texts of 20");
  });

  it("searches again if the tuning file is broken or invalid", async () => {
    for (const content of ["{", '{"v":1,"budgets":{"32":-5}}', '{"v":2}']) {
      const tuningFile = join(root, "damaged.json");
      await writeFile(tuningFile, content);
      await using engine = await start({ leastMs: 4, msPerCost: { 1: 0.01, 2: 0.01 } }, { tuningFile });
      await load(engine, 5);
      assert.equal(engine.settled, false);
    }
  });

  it("closes in the middle of a search", async () => {
    for (const batches of [1, 30, 60]) {
      const engine = await start({ leastMs: 2, msPerCost: { 1: 0.005, 2: 0.002 } });
      await load(engine, batches);
      await engine.close();
    }
  });
});
