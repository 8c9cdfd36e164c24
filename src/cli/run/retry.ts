import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { openOutput } from "../../outputs/claim.ts";
import { readFinished } from "../../outputs/output.ts";
import { nextRetry } from "../../outputs/retries.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { asPrefix, lockOut, openExistingOut } from "../output-location.ts";
import { s3Of } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";
import { queuePlan } from "./submit.ts";
import { unknownRun } from "./unknown-run.ts";

/**
 * `labelmill run retry-errors`: submits the rows in error of a finished run to the workers as a new run within its output, and exits.
 * @param which the id of a run, or an output: Redis does not keep runs forever
 * @throws LabelmillError RUN_UNKNOWN, RUN_FAILED (the run is not finished), USAGE (no row is in error)
 */
export async function retryErrors(which: string, context: CommandContext): Promise<number> {
  const { config, terminal } = context;
  const address = lastingRedis(config);
  await using open = new AsyncDisposableStack();
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const isRun = RunIdSchema.safeParse(which).success;
  const named = isRun ? await outputOf(which, context) : which;
  const out = named.startsWith("file:") ? fileURLToPath(named) : asPrefix(named);
  const found = await openExistingOut(out, s3);
  // Checked before anything is written: the output of a run comes from Redis.
  const { runFile: former } = await readFinished(found);
  if (isRun && former.run !== which)
    throw new LabelmillError("RUN_UNKNOWN", `${found.uri}: expected the run ${which}, got ${former.run}`);
  const lock = open.use(await lockOut(out, found, s3));
  open.defer(context.interrupts?.lastly(() => lock.release()) ?? (() => {}));
  const { runFile, uri, rows } = await nextRetry(found, (at) => openToRead(at, s3));
  const opened = await openOutput(await openStore(uri, s3), runFile);
  await queuePlan(address, config, opened.runFile.run, uri);
  const { run } = opened.runFile;
  terminal.say(
    `Run ${run} labels ${rows} rows in error again, results to ${showPlace(uri)}. See: labelmill run watch ${run}`,
  );
  if (terminal.json) terminal.printJson({ run, out: uri, rows });
  else terminal.print(run);
  return EXIT.ok;
}

async function outputOf(run: string, { config }: CommandContext): Promise<string> {
  const progress = await withRedis(lastingRedis(config), (redis) => new RunLedger(redis).progress(run));
  if (!progress) throw unknownRun(run);
  return progress.output;
}
