import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { callsOf, runsOf, SCRIPTED_THREAD, writeScripted } from "../../helpers/threads/scripted-session.ts";

const GPUS = { devices: ["cuda:0", "cuda:2"], why: "they were asked for" } as const;

test("the devices and the reason for them are in the registry, in the run and in its manifest", async () => {
  await using pipeline = await TestPipeline.open();
  const model = await writeScripted(join(pipeline.folder, "model"), "text", {});
  const thread = SCRIPTED_THREAD;
  await pipeline.worker({}, { models: [model.dir], devices: GPUS, thread });
  const [info] = await new WorkerRegistry(await pipeline.connection()).workers();
  assert.deepEqual([info!.models[0]!.device, info!.deviceReason], ["cuda:0, cuda:2", GPUS.why]);
  assert.equal(info!.models[0]!.slots, 4);

  const warmed = runsOf(await callsOf(model)).length;
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 1000);
  const { store, ledger, runFile } = await pipeline.run({ kind: "text", path, model: model.dir, out: "out" });
  const expected = { "cuda:0": GPUS.why, "cuda:2": GPUS.why };
  assert.deepEqual({ ...(await ledger.devices(runFile.run)) }, expected);
  assert.deepEqual((await readManifest(store))!.devices, expected);
  const runs = runsOf(await callsOf(model)).slice(warmed);
  assert.deepEqual([...new Set(runs.map(({ device }) => device))].sort(), ["cuda:0", "cuda:2"]);
});

test("a part that another worker wrote is not counted for this device", async () => {
  await using pipeline = await TestPipeline.open();
  let commits = 0;
  await pipeline.worker(
    {},
    {
      around: ({ steps, label }) => ({
        label,
        steps: {
          ...steps,
          commit: async (job, part) => {
            if (commits++ === 0) throw new LabelmillError("STORE_FAILED", "it died between the write and the commit");
            return steps.commit(job, part);
          },
        },
      }),
    },
  );
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 10);
  const run = await pipeline.run({ kind: "text", path, model: "tiny-sentiment", out: "out" });
  assert.equal(run.state, "succeeded");
  assert.equal(commits, 2);
  assert.deepEqual((await readManifest(run.store))!.devices, {});
});
