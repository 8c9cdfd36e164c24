import type { ServerDeps } from "../deps.ts";
import { Problem } from "../problems.ts";

const MAX_RETRY_SECONDS = 600;

/**
 * Refuses new items while too much work waits for their model. Call it before anything is stored or queued.
 * @throws Problem 429 with `Retry-After`
 */
export async function admit(
  { backlog, config }: Pick<ServerDeps, "backlog" | "config">,
  model: { id: string; digest: string },
): Promise<void> {
  const { maxBacklogSeconds } = config;
  const seconds = await backlog.seconds(model);
  if (seconds <= maxBacklogSeconds) return;
  const wait = Math.min(Math.ceil(seconds - maxBacklogSeconds), MAX_RETRY_SECONDS);
  throw new Problem(
    429,
    "BACKLOG_FULL",
    `expected at most ${maxBacklogSeconds} s of waiting work for ${model.id}, got ${Math.round(seconds)} s: wait, or start more workers`,
    { "retry-after": String(wait) },
  );
}
