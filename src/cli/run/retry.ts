import { submitRetry } from "../../producers/runs/retry-errors.ts";
import { unknownRun } from "../../producers/runs/unknown-run.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { s3Of } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";
import { queuePlan } from "./submit.ts";

/**
 * `labelmill run retry-errors`: submits the rows in error of a finished run to the workers as a new run within its output, and exits.
 * @param which the id of a run, or an output: Redis does not keep runs forever
 * @throws LabelmillError RUN_UNKNOWN, RUN_FAILED (the run is not finished), USAGE (no row is in error)
 */
export async function retryErrors(which: string, context: CommandContext): Promise<number> {
  const { config, terminal, interrupts } = context;
  const address = lastingRedis(config);
  const s3 = s3Of(config);
  try {
    const isRun = RunIdSchema.safeParse(which).success;
    const { run, uri, rows } = await submitRetry(
      isRun ? await outputOf(which, context) : which,
      isRun ? which : undefined,
      {
        s3,
        queuePlan: (id, output) => queuePlan(address, config, id, output),
        onLock: (lock) => interrupts?.lastly(() => lock.release()),
      },
    );
    terminal.say(
      `Run ${run} labels ${rows} rows in error again, results to ${showPlace(uri)}. See: labelmill run watch ${run}`,
    );
    if (terminal.json) terminal.printJson({ run, out: uri, rows });
    else terminal.print(run);
    return EXIT.ok;
  } finally {
    s3.close();
  }
}

async function outputOf(run: string, { config }: CommandContext): Promise<string> {
  const progress = await withRedis(lastingRedis(config), (redis) => new RunLedger(redis).progress(run));
  if (!progress) throw unknownRun(run);
  return progress.output;
}
