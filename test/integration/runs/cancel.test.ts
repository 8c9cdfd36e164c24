import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Queue } from "bullmq";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { KEY_PREFIX, queueName } from "../../../src/schemas/names.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";

const MODEL = "tiny-sentiment";

test("cancel aborts the running slice, drops the queued ones and keeps finished parts, and the run can be resumed", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const ledger = new RunLedger(redis);
  const held = Promise.withResolvers<void>();
  let slices = 0;
  let aborted = 0;
  await pipeline.worker(
    { threads: 1, concurrency: 1 },
    {
      around: ({ steps, label }) => ({
        steps,
        label: async (items, topK, signal, onAnswers) => {
          slices += 1;
          if (slices !== 2) return label(items, topK, signal, onAnswers);
          held.resolve();
          // Like a model that never finishes.
          if (!signal.aborted) await once(signal, "abort");
          aborted += 1;
          throw signal.reason;
        },
      }),
    },
  );
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 500);
  const input = { kind: "text", path, model: MODEL, out: "out" } as const;
  const running = pipeline.run(input, { sliceItems: 100, windowSlices: 3 });
  await held.promise;
  const [run] = await ledger.runs(1);
  assert.equal(await ledger.cancel(run!.run), true);
  const { state } = await running;
  assert.equal(state, "cancelled");
  const queue = new Queue(queueName(await loadBuiltIn(MODEL), "bulk"), { connection: redis, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  const again = await pipeline.run(input, { sliceItems: 100, windowSlices: 3 });
  assert.equal(again.state, "succeeded");
  assert.equal(again.runFile.run, run!.run);
  assert.deepEqual([aborted, slices], [1, 6], "the first slice was not labeled again");
  assert.equal(await queue.getJobCountByTypes("waiting", "prioritized", "active", "delayed", "failed"), 0);
  assert.equal((await readdir(join(pipeline.folder, "out"))).filter((name) => name.startsWith("part-")).length, 5);
  assert.equal(await ledger.cancel(run!.run), false, "it has ended");
});
