import { appendFileSync, existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { s3Of } from "../../../src/cli/s3.ts";
import { loadConfig, prepareProcess } from "../../../src/config.ts";
import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import type { RedisAddress } from "../../../src/redis/connect.ts";
import { type RunningWorker, startWorker } from "../../../src/workers/worker.ts";
import { type KillPoint, killAround } from "../runs/kill-points.ts";

export type WorkerProcessOptions = {
  redis: RedisAddress;
  model: string;
  roots: string[];
  settings: Record<string, unknown>;
  kills: KillPoint[];
  evidence: string;
  /** Whether the worker also plans runs. Default: false. */
  plan?: boolean;
  /** A text that kills the process when it reaches the labeler. */
  poison?: string;
  /** One number per process, in order: the call of the labeler, from 1, at which the process is killed. Each kill leaves a file in `evidence`. */
  outside?: number[];
  /** A file that gets a line for each call of the labeler, with the number of items. */
  calls?: string;
  /** The labeler waits until this file exists. */
  holdFor?: string;
};

prepareProcess();
const options = JSON.parse(process.argv[2]!) as WorkerProcessOptions;
let worker: RunningWorker | undefined;
let labelerCalls = 0;
const config = loadConfig({ flags: { threads: 1, ...options.settings } });
const kills = killAround(options.kills, options.evidence, () => worker?.engines[0]?.held ?? 0, config.sliceItems);
worker = await startWorker({
  redis: options.redis,
  config,
  models: [await loadBuiltIn(options.model)],
  s3: s3Of(config),
  roots: { files: options.roots, s3: [] },
  ...(options.plan ? { plan: planFromRunFile } : {}),
  log: createLogger(process.env.LABELMILL_TEST_LOG ?? "silent", false),
  around: (real) => {
    const { steps, label } = kills(real);
    return {
      steps,
      label: async (items, topK, signal, ...rest) => {
        const { poison, calls, holdFor } = options;
        if (calls !== undefined) appendFileSync(calls, `${items.length}\n`);
        if (poison !== undefined && items.some((item) => item.text === poison)) process.kill(process.pid, "SIGKILL");
        dieFromOutside();
        while (holdFor !== undefined && !existsSync(holdFor)) {
          signal.throwIfAborted();
          await new Promise((next) => setTimeout(next, 20));
        }
        return label(items, topK, signal, ...rest);
      },
    };
  },
});
process.once("SIGTERM", () => void worker!.close());
process.stdout.write("ready\n");

function dieFromOutside(): void {
  const { outside = [], evidence } = options;
  const before = readdirSync(evidence).filter((name) => name.startsWith("outside-")).length;
  if (++labelerCalls !== outside[before]) return;
  writeFileSync(join(evidence, `outside-${before}`), "");
  process.kill(process.pid, "SIGKILL");
}
