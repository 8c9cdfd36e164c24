import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { planAndWatch, type RunContext } from "../../../src/producers/planning/plan-and-watch.ts";

test("if the watcher fails before the planner, no rejection is unhandled, and the planner's error is thrown", async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    const interrupted = new AbortController();
    // As after an interrupt: the watcher ends immediately, the planner only after the reply of Redis.
    const context = {
      run: "0123456789abcdef",
      slices: async function* () {},
      onProgress: () => {},
      ledger: { progress: async () => undefined },
      changes: {
        until: async (_check: unknown, signal: AbortSignal) => {
          await once(signal, "abort");
          signal.throwIfAborted();
        },
      },
      planner: {
        plan: async (_slices: unknown, _changes: unknown, signal: AbortSignal) => {
          await once(signal, "abort");
          for (let turn = 0; turn < 5; turn++) await new Promise((next) => setImmediate(next));
          signal.throwIfAborted();
        },
      },
    } as unknown as RunContext;
    const ended = assert.rejects(planAndWatch(context, interrupted.signal), /^Error: interrupted$/);
    interrupted.abort(new Error("interrupted"));
    await ended;
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});

test("a planner whose store is unavailable plans again when the store is back; another error ends it", async () => {
  const unavailable = new Error("the store is unavailable");
  let plans = 0;
  let failure: Error | undefined = unavailable;
  const context = {
    run: "0123456789abcdef",
    slices: async function* () {},
    onProgress: () => {},
    ledger: { progress: async () => ({ state: "succeeded" }) },
    changes: {
      notify: () => {},
      until: async (check: () => Promise<boolean>, signal: AbortSignal) => {
        while (!(await check())) {
          signal.throwIfAborted();
          await new Promise(setImmediate);
        }
      },
    },
    planner: {
      begun: true,
      plan: async () => {
        plans += 1;
        if (failure && plans < 3) throw failure;
      },
    },
    waitForStore: async (error: unknown) => error === unavailable,
  } as unknown as RunContext;
  assert.equal(await planAndWatch(context, new AbortController().signal), "succeeded");
  assert.equal(plans, 3);
  plans = 0;
  failure = new Error("the input has changed");
  await assert.rejects(planAndWatch(context, new AbortController().signal), /the input has changed/);
});

test("if a run ends while its planner waits for a store, the wait ends with the state of the run", async () => {
  const progress: { state: string; reason?: string } = { state: "running" };
  let waits = 0;
  let stopped = 0;
  const context = {
    run: "0123456789abcdef",
    slices: async function* () {},
    onProgress: () => {},
    ledger: { progress: async () => progress },
    changes: {
      notify: () => {},
      until: async (check: () => Promise<boolean>, signal: AbortSignal) => {
        while (!(await check())) {
          signal.throwIfAborted();
          await new Promise(setImmediate);
        }
      },
    },
    planner: {
      begun: true,
      plan: () => Promise.reject(new Error("the store is unavailable")),
      lostSlices: async () => new Set(),
    },
    waitForStore: async (_error: unknown, signal: AbortSignal) => {
      waits += 1;
      progress.state = waits === 1 ? "cancelled" : "failed";
      if (waits > 1) progress.reason = "TOO_MANY_ERRORS: 12 of 100 rows are in error";
      await once(signal, "abort");
      stopped += 1;
      throw signal.reason;
    },
  } as unknown as RunContext;
  const never = new AbortController().signal;
  assert.equal(await planAndWatch(context, never), "cancelled");
  progress.state = "running";
  assert.equal(await planAndWatch(context, never), "failed");
  await new Promise(setImmediate);
  assert.deepEqual([waits, stopped], [2, 2], "no wait is left");
});
