import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadConfig } from "../../../src/config.ts";
import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { startWorker } from "../../../src/workers/worker.ts";
import type { TimedScript } from "../threads/timed-session-thread.ts";
import { TestPipeline } from "./pipeline.ts";

const THREAD = new URL("../threads/timed-session-thread.ts", import.meta.url);
const MODEL = "tiny-sentiment";

export type Straggling = {
  /** The time of the model per slice, and the time from the first idle worker to the end of the run, in ms. */
  sliceMs: number;
  straggledMs: number;
  /** The number of slices that each worker labeled. */
  slices: number[];
};

/**
 * Labels a run on three workers whose model sleeps for a fixed time per item. One worker starts late.
 * @param options `lateMs` is the time from the start of the run to the start of the last worker
 */
export async function measureStraggling(options: {
  slices: number;
  sliceItems: number;
  msPerItem: number;
  lateMs: number;
}): Promise<Straggling> {
  const { slices, sliceItems, msPerItem, lateMs } = options;
  await using pipeline = await TestPipeline.open();
  const path = join(pipeline.folder, "texts.csv");
  await writeFile(path, `text\n${"good\n".repeat(slices * sliceItems)}`);
  // Each text has three tokens: a word between the start and the end token.
  const script: TimedScript = { leastMs: 0, msPerCost: { 1: msPerItem / 3 } };
  const model = { ...(await loadBuiltIn(MODEL)), modelFile: JSON.stringify(script) };
  const done: number[][] = [];
  const serve = async () => {
    const s3 = new S3();
    const ends: number[] = [];
    done.push(ends);
    const worker = await startWorker({
      ...{ redis: pipeline.redis.address, models: [model], s3, thread: THREAD },
      config: loadConfig({ flags: { threads: 1, intraOpThreads: 1 } }),
      roots: { files: [pipeline.folder], s3: [] },
      log: createLogger("silent", false),
      around: ({ steps, label }) => ({
        label,
        steps: {
          ...steps,
          commit: async (job, part) => {
            const outcome = await steps.commit(job, part);
            ends.push(performance.now());
            return outcome;
          },
        },
      }),
    });
    pipeline.defer(async () => {
      await worker.close();
      s3.close();
    });
  };
  await Promise.all([serve(), serve()]);
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems });
  const ended = running.then(() => performance.now());
  await Promise.all([delay(lateMs).then(serve), ended]);
  const { ledger, runFile } = await running;
  const { inferMs } = (await ledger.progress(runFile.run))!;
  const firstOut = Math.min(...done.map((ends) => ends.at(-1) ?? Number.NEGATIVE_INFINITY));
  return {
    sliceMs: inferMs / slices,
    straggledMs: (await ended) - firstOut,
    slices: done.map(({ length }) => length),
  };
}
