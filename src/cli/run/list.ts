import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import type { RunState } from "../../schemas/run.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { runLine } from "../service/status.ts";

const MOST_LISTED = 1000;

/** `labelmill run list`: the runs that Redis knows, latest first. @param states list only runs in one of these states */
export async function listRuns(states: readonly RunState[] | undefined, context: CommandContext): Promise<number> {
  return withRedis(lastingRedis(context.config), async (redis) => {
    const runs = (await new RunLedger(redis).runs(MOST_LISTED)).filter(
      ({ state }) => !states || states.includes(state),
    );
    const { terminal } = context;
    if (terminal.json) terminal.printJson({ runs });
    else for (const run of runs) terminal.print(runLine(run, terminal));
    return EXIT.ok;
  });
}
