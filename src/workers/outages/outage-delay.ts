import { messageOf } from "../../errors.ts";
import type { Outage } from "../../storage/health/outage.ts";
import type { Outages } from "../../storage/health/outages.ts";

/** A job of an unavailable store is tried again at least this often, so that it runs soon after the store is back. */
const MAX_OUTAGE_DELAY_MS = 10_000;
/** A job is tried again this long after Redis was unavailable. */
const REDIS_OUTAGE_DELAY_MS = 1_000;

/**
 * Error codes of a Redis server that can serve no client at the moment. They begin its answer, or follow a space or
 * dash.
 */
const REDIS_OUT = /(^|[\s-])(OOM|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MISCONF|NOREPLICAS|EXECABORT) /;
const REDIS_LOST = /^(Connection is closed|Command aborted due to connection close|Stream isn't writeable)/;

/** How long a job of an unavailable store is delayed, in ms. Jobs are spread over a quarter of the time. */
export function outageDelayMs(outage: Outage): number {
  return Math.min(MAX_OUTAGE_DELAY_MS, outage.retryMs) * (1 + Math.random() / 4);
}

/**
 * Judges once why a job failed. `delayMs`: its store or Redis is unavailable, so the job is delayed without using an
 * attempt. `refused`: its store refuses access, and the time to fix it is over. Neither is set if the failure is the
 * job's own.
 * @param output the URI of the store that the job writes to
 */
export async function judgeFailure(
  thrown: unknown,
  output: string,
  outages: Pick<Outages, "outageOf">,
): Promise<{ delayMs?: number; refused?: true }> {
  if (isRedisOut(thrown)) return { delayMs: REDIS_OUTAGE_DELAY_MS };
  const outage = await outages.outageOf(thrown, output);
  if (!outage) return {};
  if (!outage.givenUp) return { delayMs: outageDelayMs(outage) };
  return outage.kind === "refused" ? { refused: true } : {};
}

function isRedisOut(thrown: unknown): boolean {
  const message = messageOf(thrown);
  return thrown instanceof Error && thrown.name === "ReplyError" ? REDIS_OUT.test(message) : REDIS_LOST.test(message);
}
