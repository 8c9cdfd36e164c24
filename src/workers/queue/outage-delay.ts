import { DelayedError, type Job as QueuedJob } from "bullmq";
import { messageOf } from "../../errors.ts";
import type { Outage } from "../../storage/health/outage.ts";
import type { Outages } from "../../storage/health/outages.ts";

/** A job of a store that is out looks again at least this often, so that it goes on soon after the store is back. */
const LONGEST_ASIDE_MS = 10_000;
const REDIS_ASIDE_MS = 1_000;

/** The first word of what Redis answers while it can do nothing for anybody, whatever it is asked. */
const REDIS_OUT = /(^|[\s-])(OOM|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MISCONF|NOREPLICAS|EXECABORT) /;
const REDIS_LOST = /^(Connection is closed|Command aborted due to connection close|Stream isn't writeable)/;

/** Puts a job back into its queue for later, which costs it no try. Throws what tells BullMQ so. */
export async function delayJob(queued: QueuedJob, token: string, ms: number): Promise<never> {
  await queued.moveToDelayed(Date.now() + ms, token);
  throw new DelayedError();
}

/** How long a job of a store that is out lies aside, in ms. */
export function outageDelayMs(outage: Outage): number {
  return Math.min(LONGEST_ASIDE_MS, outage.retryMs) * (1 + Math.random() / 4);
}

/**
 * Why a job failed, judged once: `ms` is how long it lies aside because its store or Redis is out, at no cost of a try; `refused`
 * says that its store refuses and was given the time to be fixed. Neither where the failure is its own.
 * @param output the URI of the store that it writes to
 */
export async function judgeFailure(
  thrown: unknown,
  output: string,
  outages: Pick<Outages, "judge">,
): Promise<{ ms?: number; refused?: true }> {
  if (isRedisOut(thrown)) return { ms: REDIS_ASIDE_MS };
  const outage = await outages.judge(thrown, output);
  if (!outage) return {};
  if (!outage.givenUp) return { ms: outageDelayMs(outage) };
  return outage.kind === "refused" ? { refused: true } : {};
}

/** The `ms` of `judgeFailure`. */
export async function outageMs(thrown: unknown, output: string, outages: Outages): Promise<number | undefined> {
  return (await judgeFailure(thrown, output, outages)).ms;
}

export function isRedisOut(thrown: unknown): boolean {
  const message = messageOf(thrown);
  return thrown instanceof Error && thrown.name === "ReplyError" ? REDIS_OUT.test(message) : REDIS_LOST.test(message);
}
