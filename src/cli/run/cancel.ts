import { controlRun } from "../../producers/runs/control.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";

/** `labelmill cancel RUN`. @returns the exit code: 1 if the run has ended already. @throws LabelmillError RUN_UNKNOWN */
export async function cancel(run: string, { config, terminal }: CommandContext): Promise<number> {
  return withRedis(lastingRedis(config), async (redis) => {
    const { done: cancelled, progress } = await controlRun("cancel", run, new RunLedger(redis));
    const { state, output, rows, items } = progress;
    if (terminal.json) terminal.printJson({ run, cancelled, state, out: output, rows, items });
    else if (cancelled)
      terminal.print(`Run ${run} is cancelled. The rows of ${rows} of ${items} planned items stay in ${output}`);
    else terminal.print(`Run ${run} is ${state}: nothing to cancel`);
    return cancelled ? EXIT.ok : EXIT.failed;
  });
}
