import { setTimeout as delay } from "node:timers/promises";
import type { Backlog } from "../producers/client/backlog.ts";
import type { ModelPin } from "../schemas/run.ts";

/** How often a full backlog is looked at again. */
const RECHECK_MS = 1_000;

/** Resolves when new items of these models wait at most this long. */
export async function waitForRoom(
  backlog: Backlog,
  models: readonly ModelPin[],
  maxSeconds: number,
  signal: AbortSignal,
): Promise<void> {
  for (const model of models)
    while ((await backlog.seconds(model)) > maxSeconds) await delay(RECHECK_MS, undefined, { signal });
}
