import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import {
  newProgress,
  recordText,
  recordThread,
  TextWatchdog,
} from "../../../../src/inference/preprocess/text/text-watchdog.ts";

test("a thread that continues after its time limit: the text on which it exceeded the limit is reported", async (t) => {
  const thread = new Worker("for (;;);", { eval: true });
  t.after(() => thread.terminate());
  await once(thread, "online");
  const progress = newProgress();
  using clock = new TextWatchdog(progress, { textMs: 20, loadMs: 60_000 }, () => [thread]);
  recordThread(progress, thread.threadId);
  recordText(progress, 3);
  await once(clock.exceeded, "abort");
  recordText(progress, 4);
  assert.equal(clock.exceededAt, 3);
});
