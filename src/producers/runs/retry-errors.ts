import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { openOutput } from "../../outputs/claim.ts";
import { readFinished } from "../../outputs/output.ts";
import { nextRetry } from "../../outputs/retries.ts";
import type { OutputLock } from "../../storage/lease/lock.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { asPrefix, lockOut, openExistingOut } from "./output-location.ts";

export type RetryDeps = {
  s3: S3;
  /** Queues the planning of a run whose `_run.json` is written. */
  queuePlan(run: string, output: string): Promise<void>;
  /** Called with the lock of the output, which is released at the end. */
  onLock?: ((lock: OutputLock) => (() => void) | undefined) | undefined;
};

/** A submitted retry: its run, its output within that of the retried run, and the number of its rows. */
export type SubmittedRetry = { run: string; uri: string; rows: number };

/**
 * Submits the rows in error of a finished run to the workers, as a new run within its output.
 * @param output a folder, or the URI of the output
 * @param expected the id of the run that the output must belong to. Default: any
 * @throws LabelmillError RUN_UNKNOWN (another run), RUN_FAILED (the run is not finished), USAGE (no row is in error)
 */
export async function submitRetry(
  output: string,
  expected: string | undefined,
  { s3, queuePlan, onLock }: RetryDeps,
): Promise<SubmittedRetry> {
  await using open = new AsyncDisposableStack();
  const out = output.startsWith("file:") ? fileURLToPath(output) : asPrefix(output);
  const found = await openExistingOut(out, s3);
  // Checked before anything is written: the output of a run comes from Redis.
  const { runFile: former } = await readFinished(found);
  if (expected !== undefined && former.run !== expected)
    throw new LabelmillError("RUN_UNKNOWN", `${found.uri}: expected the run ${expected}, got ${former.run}`);
  const lock = open.use(await lockOut(out, found, s3));
  open.defer(onLock?.(lock) ?? (() => {}));
  const { runFile, uri, rows } = await nextRetry(found, (at) => openToRead(at, s3));
  const opened = await openOutput(await openStore(uri, s3), runFile);
  const { run } = opened.runFile;
  await queuePlan(run, uri);
  return { run, uri, rows };
}
