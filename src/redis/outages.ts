import type { Redis } from "ioredis";
import { causeOf } from "./connection-error.ts";

/** Called once when the connection is lost, with the reason, and once when it is back, with the length of the outage. */
export type OutageListener = { lost(reason: string): void; back(seconds: number): void };

/** Reports each outage once, however many attempts to reconnect fail meanwhile. */
export function reportOutages(redis: Redis, { lost, back }: OutageListener): void {
  let since: number | undefined;
  let cause: unknown;
  redis.on("error", (error) => {
    cause = error;
  });
  // Not `close`, which a regular disconnect causes too.
  redis.on("reconnecting", () => {
    if (since !== undefined) return;
    since = performance.now();
    lost(cause === undefined ? "the server closed it" : causeOf(cause).reason);
  });
  redis.on("ready", () => {
    if (since !== undefined) back((performance.now() - since) / 1000);
    since = undefined;
    cause = undefined;
  });
}

/** Resolves when the connection to Redis is lost, immediately if it is not ready now. */
export function whenLost(redis: Redis): Promise<void> {
  if (redis.status !== "ready") return Promise.resolve();
  return new Promise((resolve) => redis.once("close", () => resolve()));
}
