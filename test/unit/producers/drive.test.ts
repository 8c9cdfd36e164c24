import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { type Drive, driveRun } from "../../../src/producers/planning/drive.ts";

test("what shows the progress may fail before the planner does: nothing goes unhandled, and the planner's error counts", async () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown) => unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    const interrupted = new AbortController();
    // As an interrupt meets it: the look at the progress ends at once, the planner only when Redis has answered it.
    const drive = {
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
    } as unknown as Drive;
    const driven = assert.rejects(driveRun(drive, interrupted.signal), /^Error: interrupted$/);
    interrupted.abort(new Error("interrupted"));
    await driven;
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});

test("a planner whose store is out plans again when it is back; another error ends it", async () => {
  const out = new Error("the store is out");
  let plans = 0;
  let failure: Error | undefined = out;
  const drive = {
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
    outlast: async (error: unknown) => error === out,
  } as unknown as Drive;
  assert.equal(await driveRun(drive, new AbortController().signal), "succeeded");
  assert.equal(plans, 3);
  plans = 0;
  failure = new Error("the input is another");
  await assert.rejects(driveRun(drive, new AbortController().signal), /the input is another/);
});

test("a run that ends while its planner waits for a store: the wait is over, with the run's state", async () => {
  const progress: { state: string; reason?: string } = { state: "running" };
  let waits = 0;
  let stopped = 0;
  const drive = {
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
      plan: () => Promise.reject(new Error("the store is out")),
      lostSlices: async () => new Set(),
    },
    outlast: async (_error: unknown, signal: AbortSignal) => {
      waits += 1;
      progress.state = waits === 1 ? "cancelled" : "failed";
      if (waits > 1) progress.reason = "TOO_MANY_ERRORS: 12 of 100 rows are in error";
      await once(signal, "abort");
      stopped += 1;
      throw signal.reason;
    },
  } as unknown as Drive;
  const never = new AbortController().signal;
  assert.equal(await driveRun(drive, never), "cancelled");
  progress.state = "running";
  assert.equal(await driveRun(drive, never), "failed");
  await new Promise(setImmediate);
  assert.deepEqual([waits, stopped], [2, 2], "nobody waits any more");
});
