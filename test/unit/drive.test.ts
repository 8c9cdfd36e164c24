import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { type Drive, driveRun } from "../../src/producers/drive.ts";

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
