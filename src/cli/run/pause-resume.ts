import { controlRun } from "../../producers/runs/control.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";

/** `labelmill run pause` and `run resume`. @returns the exit code: 1 if there was nothing to do. @throws LabelmillError RUN_UNKNOWN */
export async function pauseOrResume(what: "pause" | "resume", run: string, context: CommandContext): Promise<number> {
  return withRedis(lastingRedis(context.config), async (redis) => {
    const { done, progress } = await controlRun(what, run, new RunLedger(redis));
    const { state, rows, items } = progress;
    const { terminal } = context;
    if (terminal.json) terminal.printJson({ run, [what === "pause" ? "paused" : "resumed"]: done, state, rows, items });
    else if (!done) terminal.print(`Run ${run} is ${state}: nothing to ${what}`);
    else if (what === "resume")
      terminal.print(`Run ${run} continues: ${state}, ${rows} of ${items} planned items are done`);
    else
      terminal.print(
        `Run ${run} is paused: running slices finish, and no other starts until labelmill run resume ${run}`,
      );
    return done ? EXIT.ok : EXIT.failed;
  });
}
