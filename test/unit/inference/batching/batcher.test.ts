import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { LabelmillError } from "../../../../src/errors.ts";
import { Batcher, type BatcherOptions } from "../../../../src/inference/batching/batcher.ts";
import { DeviceError } from "../../../../src/inference/devices/device-error.ts";
import { fixedRules } from "../../../helpers/models/batch-rules.ts";

const entries = (values: readonly number[]) => values.map((value) => ({ length: 1, value }));
const square = async (batch: number[]): Promise<(number | Error)[]> => batch.map((value) => value * value);

type Run = (batch: number[], thread: number) => Promise<(number | Error)[]>;
type Options = Partial<Omit<BatcherOptions<number, number>, "run" | "rules">> & { run?: Run; budget?: number };
const make = ({ run = square, budget = 8, ...options }: Options) =>
  new Batcher<number, number>({
    rules: fixedRules(budget),
    threads: 2,
    batchesPerThread: 1,
    run: async (batch, thread) => {
      const begin = performance.now();
      const answers = await run(batch, thread);
      return { answers, ms: performance.now() - begin };
    },
    ...options,
  });

describe("Batcher", () => {
  it("isolates exactly the failing items, and answers all others", async () => {
    const plan = fc.record({
      groups: fc.array(fc.array(fc.boolean(), { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 6 }),
      budget: fc.integer({ min: 1, max: 64 }),
      threads: fc.integer({ min: 1, max: 3 }),
      batchesPerThread: fc.integer({ min: 1, max: 2 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ groups, budget, threads, batchesPerThread }) => {
        const bad = new Set<number>();
        let next = 0;
        const values = groups.map((marks) =>
          marks.map((mark) => {
            if (mark) bad.add(next);
            return next++;
          }),
        );
        const out = new Array<number>(threads).fill(0);
        const batcher = make({
          budget,
          threads,
          batchesPerThread,
          run: async (batch, thread) => {
            assert.ok(++out[thread]! <= batchesPerThread, "no more batches with a thread than it may have");
            await new Promise(setImmediate);
            out[thread]!--;
            if (batch.some((value) => bad.has(value))) throw new RangeError("indigestible");
            return square(batch);
          },
        });
        const outcomes = await Promise.all(values.map((group) => batcher.add(entries(group))));
        for (const [at, group] of values.entries()) {
          assert.equal(outcomes[at]!.length, group.length);
          for (const [index, value] of group.entries()) {
            const outcome = outcomes[at]![index]!;
            if (!bad.has(value)) assert.equal(outcome, value * value);
            else assert.equal(outcome instanceof LabelmillError && outcome.code, "ITEM_FAILED");
          }
        }
        assert.equal(batcher.held, 0);
        assert.equal(batcher.stats.items, next);
      }),
      { numRuns: 150 },
    );
  });

  it("finds one failing item among 64 in the number of runs that halving takes", async () => {
    let runs = 0;
    const run = async (batch: number[]) => {
      runs++;
      if (batch.includes(37)) throw new Error("indigestible");
      return square(batch);
    };
    const outcomes = await make({ run, budget: 64 }).add(entries(Array.from({ length: 64 }, (_, at) => at)));
    assert.deepEqual(
      outcomes.flatMap((outcome, at) => (outcome instanceof LabelmillError ? [at] : [])),
      [37],
    );
    assert.equal(runs, 1 + 2 * 6);
  });

  it("returns an error among the answers as the outcome of its item", async () => {
    const run = async () => [1, new LabelmillError("NOT_FINITE", "no"), new Error("bad"), 4];
    const [one, two, three, four] = await make({ run }).add(entries([1, 2, 3, 4]));
    assert.deepEqual([one, four], [1, 4]);
    assert.equal(two instanceof LabelmillError && two.code, "NOT_FINITE");
    assert.equal(three instanceof LabelmillError && three.code, "ITEM_FAILED");
  });

  it("rejects the calls of a batch whose thread was lost, without halving, and drops their waiting items", async () => {
    const sizes: number[] = [];
    const run = async (batch: number[]) => {
      sizes.push(batch.length);
      if (batch.includes(0)) throw new LabelmillError("INFERENCE_FAILED", "gone");
      return square(batch);
    };
    const batcher = make({ run, budget: 4, threads: 1 });
    const lost = batcher.add(entries([0, 1, 2, 3, 4, 5, 6, 7, 8]));
    const kept = batcher.add(entries([9, 10]));
    await assert.rejects(lost, { code: "INFERENCE_FAILED" });
    assert.deepEqual(await kept, [81, 100]);
    assert.deepEqual(sizes, [4, 2]);
    assert.equal(batcher.held, 0);
  });

  it("does not assign answers if their number is wrong", async () => {
    await assert.rejects(make({ run: async () => [1, 2, 3] }).add(entries([1, 2])), { code: "INTERNAL" });
  });

  it("gathers the items that arrive while every thread is busy", async () => {
    const gates: (() => void)[] = [];
    const sizes: number[] = [];
    const started: (() => void)[] = [];
    const run = async (batch: number[]) => {
      sizes.push(batch.length);
      started.shift()?.();
      await new Promise<void>((resolve) => gates.push(resolve));
      return square(batch);
    };
    const batcher = make({ run, threads: 1 });
    const begun = new Promise<void>((resolve) => started.push(resolve));
    const calls = [batcher.add(entries([1]))];
    await begun;
    for (const value of [2, 3, 4]) calls.push(batcher.add(entries([value])));
    assert.deepEqual([batcher.depth, batcher.held], [3, 4]);
    const second = new Promise<void>((resolve) => started.push(resolve));
    gates.shift()!();
    await second;
    gates.shift()!();
    assert.deepEqual((await Promise.all(calls)).flat(), [1, 4, 9, 16]);
    assert.deepEqual(sizes, [1, 3]);
    const { busyMs, inferMs, queuedMs, ...stats } = batcher.stats;
    assert.ok(busyMs > 0);
    assert.ok(inferMs > 0);
    assert.ok(queuedMs > 0);
    assert.deepEqual(stats, {
      batches: 2,
      cuts: { full: 0, drained: 2, lengths: 0 },
      items: 4,
      realCost: 4,
      paddedCost: 4,
      lanes: { interactive: { items: 0, realCost: 0 }, bulk: { items: 4, realCost: 4 } },
    });
  });

  it("counts why batches were not larger", async () => {
    const batcher = make({ budget: 4, threads: 1 });
    const lengths = [1, 1, 1, 1, 1, 4];
    await batcher.add(lengths.map((length) => ({ length, value: length })));
    // The long item is a full batch, then four short ones are. For the last one, no other item waits.
    assert.deepEqual(batcher.stats.cuts, { full: 2, lengths: 0, drained: 1 });
    const other = make({ budget: 100, threads: 1 });
    await other.add([10, 1].map((length) => ({ length, value: length })));
    assert.deepEqual(other.stats.cuts, { full: 0, lengths: 1, drained: 1 });
  });

  it("halves a batch that runs out of memory, and reports its cost", async () => {
    const reported: number[] = [];
    const run = async (batch: number[]) => {
      if (batch.length > 2) throw new DeviceError("CUDA failure 2: out of memory");
      return square(batch);
    };
    const batcher = make({ run, budget: 8, threads: 1, onDeviceError: (_, cost) => reported.push(cost) });
    assert.deepEqual(await batcher.add(entries([1, 2, 3, 4, 5, 6, 7, 8])), [1, 4, 9, 16, 25, 36, 49, 64]);
    assert.deepEqual(reported, [8, 4, 4]);
  });

  it("blames the device, not the item, if it fails on a single item", async () => {
    const reported: number[] = [];
    const run = async () => {
      throw new DeviceError("CUDA error: an illegal memory access was encountered");
    };
    const batcher = make({ run, threads: 1, onDeviceError: (_, cost) => reported.push(cost) });
    await assert.rejects(batcher.add(entries([1, 2])), { code: "INFERENCE_FAILED", retryable: true });
    assert.deepEqual(reported, [2, 0]);
  });

  it("changes its threads between batches, and loses no waiting item", async () => {
    let running = 0;
    const threads = new Set<number>();
    const run = async (batch: number[], thread: number) => {
      running++;
      threads.add(thread);
      await new Promise(setImmediate);
      running--;
      return square(batch);
    };
    const batcher = make({ run, budget: 2, threads: 1, batchesPerThread: 2 });
    const call = batcher.add(entries(Array.from({ length: 40 }, (_, at) => at)));
    await new Promise(setImmediate);
    await batcher.change(async () => {
      assert.equal(running, 0);
      assert.ok(batcher.depth > 0);
      await new Promise(setImmediate);
      return 3;
    });
    assert.equal((await call).length, 40);
    assert.deepEqual([...threads].sort(), [0, 1, 2]);
  });

  it("closes when its items are done, and rejects new ones", async () => {
    const batcher = make({ budget: 2, threads: 1 });
    const call = batcher.add(entries([1, 2, 3, 4, 5]));
    let closed = false;
    const closing = batcher.close().then(() => {
      closed = true;
    });
    await assert.rejects(batcher.add(entries([6])), { code: "ABORTED" });
    assert.equal(closed, false);
    assert.deepEqual(await call, [1, 4, 9, 16, 25]);
    await closing;
    await make({}).close();
  });

  it("drops what waits of a call that is aborted", async () => {
    const seen: number[] = [];
    const abort = new AbortController();
    const run = async (batch: number[]) => {
      seen.push(...batch);
      abort.abort();
      return square(batch);
    };
    const batcher = make({ run, budget: 2, threads: 1 });
    const call = batcher.add(entries([1, 2, 3, 4, 5, 6]), abort.signal);
    await assert.rejects(call, { code: "ABORTED" });
    await batcher.close();
    assert.deepEqual(seen, [1, 2]);
    assert.deepEqual(await make({}).add([]), []);
    await assert.rejects(make({}).add(entries([1]), abort.signal), { code: "ABORTED" });
  });
});
