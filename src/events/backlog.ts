import { setTimeout as delay } from "node:timers/promises";
import type { Backlog } from "../producers/client/backlog.ts";
import type { ModelPin } from "../schemas/run.ts";

/** How often a full backlog is looked at again. */
const RECHECK_MS = 1_000;

/** The longest wait of a new item of these models, in seconds. */
export async function longestWait(backlog: Backlog, models: readonly ModelPin[]): Promise<number> {
  return Math.max(0, ...(await Promise.all(models.map((model) => backlog.seconds(model)))));
}

/** Resolves when new items of these models wait at most this long. */
export async function waitForRoom(
  backlog: Backlog,
  models: readonly ModelPin[],
  maxSeconds: number,
  signal: AbortSignal,
): Promise<void> {
  while ((await longestWait(backlog, models)) > maxSeconds) await delay(RECHECK_MS, undefined, { signal });
}
