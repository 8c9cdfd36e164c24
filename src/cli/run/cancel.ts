import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { unknownRun } from "./unknown-run.ts";

/** `labelmill cancel RUN`. @returns the exit code: 1 if the run has ended already. @throws LabelmillError RUN_UNKNOWN */
export async function cancel(run: string, { config, terminal }: CommandContext): Promise<number> {
  return withRedis(lastingRedis(config), async (redis) => {
    const ledger = new RunLedger(redis);
    const cancelled = await ledger.cancel(run);
    const progress = await ledger.progress(run);
    if (!progress) throw unknownRun(run);
    const { state, output, rows, items } = progress;
    if (terminal.json) terminal.printJson({ run, cancelled, state, out: output, rows, items });
    else if (cancelled)
      terminal.print(`Run ${run} is cancelled. The rows of ${rows} of ${items} planned items stay in ${output}`);
    else terminal.print(`Run ${run} is ${state}: nothing to cancel`);
    return cancelled ? EXIT.ok : EXIT.failed;
  });
}

/** Cancels a run if Redis knows it and it has not ended. */
export async function cancelRun(address: RedisAddress, run: string): Promise<void> {
  await withRedis(address, (redis) => new RunLedger(redis).cancel(run));
}
