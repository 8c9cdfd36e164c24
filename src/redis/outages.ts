import type { Redis } from "ioredis";
import { causeOf } from "./cause.ts";

/** Who is told of an outage: once that the connection is lost, and why, once that it is back, and after how long. */
export type OutageListener = { lost(why: string): void; back(seconds: number): void };

/** Tells of each outage once, however often the connection is tried again meanwhile. */
export function tellOutages(redis: Redis, { lost, back }: OutageListener): void {
  let since: number | undefined;
  let reason: unknown;
  redis.on("error", (error) => {
    reason = error;
  });
  // Not `close`, which an orderly end causes too.
  redis.on("reconnecting", () => {
    if (since !== undefined) return;
    since = performance.now();
    lost(reason === undefined ? "the server closed it" : causeOf(reason).words);
  });
  redis.on("ready", () => {
    if (since !== undefined) back((performance.now() - since) / 1000);
    since = undefined;
    reason = undefined;
  });
}

/** Settles when there is no connection to Redis, at once if there is none now. */
export function whenLost(redis: Redis): Promise<void> {
  if (redis.status !== "ready") return Promise.resolve();
  return new Promise((resolve) => redis.once("close", () => resolve()));
}
