import { LabelmillError } from "../../errors.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { LabelWorld } from "../context.ts";
import { lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";

/** `labelmill cancel RUN`. @returns the exit code: 1 where there was nothing to cancel. @throws LabelmillError RUN_UNKNOWN */
export async function cancel(run: string, { config, terminal }: LabelWorld): Promise<number> {
  return withRedis(lastingRedis(config), async (redis) => {
    const ledger = new RunLedger(redis);
    const cancelled = await ledger.cancel(run);
    const progress = await ledger.progress(run);
    if (!progress) throw unknownRun(run);
    const { state, output, rows, items } = progress;
    if (terminal.json) terminal.printJson({ run, cancelled, state, out: output, rows, items });
    else if (cancelled)
      terminal.print(`Run ${run} is cancelled: ${rows} of ${items} planned items are in ${output}, and stay there`);
    else terminal.print(`Run ${run} is ${state}: nothing to cancel`);
    return cancelled ? EXIT.labeled : EXIT.failed;
  });
}

/** Ends a run if that Redis knows it as one that is under way. */
export async function cancelRun(address: RedisAddress, run: string): Promise<void> {
  await withRedis(address, (redis) => new RunLedger(redis).cancel(run));
}

export function unknownRun(run: string): LabelmillError {
  return new LabelmillError(
    "RUN_UNKNOWN",
    `expected the id of a run that Redis knows, got ${JSON.stringify(run.slice(0, 80))}: labelmill status lists them`,
  );
}
