import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Ended, verdict, Workspace } from "../../helpers/cli.ts";
import type { LabelMainOptions } from "../../helpers/processes/label-main.ts";
import { KILL_STEPS, type KillStep, SLICE_ITEMS } from "../../helpers/runs/kill-points.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";

const LABEL_MAIN = fileURLToPath(new URL("../../helpers/processes/label-main.ts", import.meta.url));

/** Runs the command that kills itself, and checks that its Redis server closes and deletes its folder. */
async function runToItsEnd(work: Workspace, options: LabelMainOptions): Promise<Ended> {
  const command = work.start([JSON.stringify(options)], { script: LABEL_MAIN });
  await command.says("serving");
  const redisClosed = work.redisClosed();
  const ended = await command.ended;
  await redisClosed;
  assert.deepEqual(await readdir(work.file("tmp")), [], "the server has deleted its folder, and nothing else is left");
  return ended;
}

/** The steps of output files have a separate test. */
const STEPS = KILL_STEPS.filter((step) => step !== "file" && step !== "removed");

describe("the same command finishes a run after kill -9", { concurrency: 2 }, () => {
  for (const steps of [STEPS.slice(0, 4), STEPS.slice(4)])
    test(`killed twice at each of ${steps.join(", ")}`, async () => {
      await using work = await Workspace.open();
      const input = await writeTexts(work.file("texts.csv"), steps.length * SLICE_ITEMS);
      // The steps of the finalizer have no slice and use the number 0.
      const kills = steps.map((step, slice) => ({ step, slice: isFinal(step) ? 0 : slice, times: 2 }));
      const evidence = work.file("crashes");
      await mkdir(evidence);
      // With one slice at a time, a crash loses only that slice.
      const settings = { sliceItems: SLICE_ITEMS, windowSlices: 1, threads: 1 };
      const options: LabelMainOptions = { input, out: work.file("out"), settings, kills, evidence };
      for (let crash = 0; crash < 2 * steps.length; crash++) {
        const { signal, stderr } = await runToItsEnd(work, options);
        assert.equal(signal, "SIGKILL", `after ${crash} crashes: ${stderr}`);
      }
      const crashes = kills.flatMap(({ step, slice }) => [`${step}-${slice}-0`, `${step}-${slice}-1`]);
      assert.deepEqual((await readdir(evidence)).sort(), crashes.sort(), "each step was the last one of two processes");

      const args = [
        "label",
        "text",
        "--model",
        "tiny-sentiment",
        "texts.csv",
        "--out",
        "out",
        "--slice-items",
        String(SLICE_ITEMS),
      ];
      const { stderr } = await work.expect(0, args);
      assert.match(stderr, /Resuming run [0-9a-f]{16}/);
      await work.expect(0, ["verify", "out"]);
      const rows = await work.rows("out");
      assert.deepEqual(
        rows.map(({ source }) => source.record),
        Array.from({ length: steps.length * SLICE_ITEMS }, (_, i) => i),
      );
    });

  test("an item that kills the command each time is one row in error after at most five crashes", async () => {
    await using work = await Workspace.open();
    const input = await writeTexts(work.file("texts.csv"), 60);
    const poison = "it was great really really really really really really really really 26";
    const settings = { sliceItems: 20 };
    const options = { input, out: work.file("out"), settings, kills: [], evidence: work.path, poison };
    let crashes = 0;
    let ended = await runToItsEnd(work, options);
    for (; ended.signal === "SIGKILL" && crashes < 10; crashes++) ended = await runToItsEnd(work, options);
    assert.ok(crashes >= 1 && crashes <= 5, `${crashes} crashes`);
    assert.equal(ended.code, 3, ended.stderr);
    const rows = await work.rows("out");
    assert.equal(rows.length, 60);
    assert.deepEqual(
      rows.flatMap((row) => ("error" in row ? [[row.source.record, verdict(row)]] : [])),
      [[26, "ITEM_CRASHED_WORKER"]],
    );
    await work.expect(0, ["verify", "out"]);
  });
});

function isFinal(step: KillStep): boolean {
  return step === "parts" || step === "manifest";
}
