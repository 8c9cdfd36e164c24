import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { RunState } from "../../schemas/run.ts";
import type { LabelWorld } from "../context.ts";
import { lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { runLine } from "../service/status.ts";
import { unknownRun } from "./cancel.ts";

const MOST_LISTED = 1000;

/** `labelmill run pause`, `run resume`. @returns the exit code: 1 where there was nothing to do. @throws LabelmillError RUN_UNKNOWN */
export async function pauseOrResume(what: "pause" | "resume", run: string, world: LabelWorld): Promise<number> {
  return withLedger(world, async (ledger) => {
    const done = await ledger[what](run);
    const progress = await ledger.progress(run);
    if (!progress) throw unknownRun(run);
    const { state, rows, items } = progress;
    const { terminal } = world;
    if (terminal.json) terminal.printJson({ run, [what === "pause" ? "paused" : "resumed"]: done, state, rows, items });
    else if (!done) terminal.print(`Run ${run} is ${state}: nothing to ${what}`);
    else if (what === "resume")
      terminal.print(`Run ${run} goes on: ${state}, ${rows} of ${items} planned items are done`);
    else
      terminal.print(
        `Run ${run} is paused: slices under way are finished, and no other begins until labelmill run resume ${run}`,
      );
    return done ? EXIT.labeled : EXIT.failed;
  });
}

/** `labelmill run list`: the runs that Redis knows, the latest first. @param states only those in one of them */
export async function listRuns(states: readonly RunState[] | undefined, world: LabelWorld): Promise<number> {
  return withLedger(world, async (ledger) => {
    const runs = (await ledger.runs(MOST_LISTED)).filter(({ state }) => !states || states.includes(state));
    const { terminal } = world;
    if (terminal.json) terminal.printJson({ runs });
    else for (const run of runs) terminal.print(runLine(run, terminal));
    return EXIT.labeled;
  });
}

async function withLedger(world: LabelWorld, work: (ledger: RunLedger) => Promise<number>): Promise<number> {
  return withRedis(lastingRedis(world.config), (redis) => work(new RunLedger(redis)));
}
