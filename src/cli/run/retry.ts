import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { openOutput } from "../../outputs/claim.ts";
import { readFinished } from "../../outputs/output.ts";
import { nextRetry } from "../../outputs/retries.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import type { LabelWorld } from "../context.ts";
import { lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { asPrefix, lockOut, openExistingOut } from "../place.ts";
import { s3Of } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";
import { unknownRun } from "./cancel.ts";
import { queuePlan } from "./submit.ts";

/**
 * `labelmill run retry-errors`: hands the rows of a finished run that are in error to the workers once more, as a run of their own within its
 * output, and leaves.
 * @param which a run's id, or, since Redis forgets runs, an output
 * @throws LabelmillError RUN_UNKNOWN, RUN_FAILED (it is not finished), USAGE (no row is in error)
 */
export async function retryErrors(which: string, world: LabelWorld): Promise<number> {
  const { config, terminal } = world;
  const address = lastingRedis(config);
  await using open = new AsyncDisposableStack();
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const isRun = RunIdSchema.safeParse(which).success;
  const named = isRun ? await outputOf(which, world) : which;
  const out = named.startsWith("file:") ? fileURLToPath(named) : asPrefix(named);
  const found = await openExistingOut(out, s3);
  // Before anything is written: the address of a run comes from Redis.
  const { runFile: theirs } = await readFinished(found);
  if (isRun && theirs.run !== which)
    throw new LabelmillError("RUN_UNKNOWN", `${found.uri}: expected the run ${which}, found ${theirs.run}`);
  const lock = open.use(await lockOut(out, found, s3));
  open.defer(world.interrupts?.lastly(() => lock.release()) ?? (() => {}));
  const { runFile, uri, rows } = await nextRetry(found, (at) => openToRead(at, s3));
  const opened = await openOutput(await openStore(uri, s3), runFile);
  await queuePlan(address, config, opened.runFile.run, uri);
  const { run } = opened.runFile;
  terminal.say(
    `Run ${run} labels ${rows} rows in error once more, results to ${showPlace(uri)}. See: labelmill run watch ${run}`,
  );
  if (terminal.json) terminal.printJson({ run, out: uri, rows });
  else terminal.print(run);
  return EXIT.labeled;
}

async function outputOf(run: string, { config }: LabelWorld): Promise<string> {
  const progress = await withRedis(lastingRedis(config), (redis) => new RunLedger(redis).progress(run));
  if (!progress) throw unknownRun(run);
  return progress.output;
}
