import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";

/** One line when the connection to Redis is lost, however often it is tried again, and one when it is back. */
export function tellOutages(redis: Redis, log: Logger): void {
  let lost = false;
  // Not `close`, which an orderly end causes too.
  redis.on("reconnecting", () => {
    if (!lost) log.warn("connection to Redis lost: trying again");
    lost = true;
  });
  redis.on("ready", () => {
    if (lost) log.warn("connection to Redis is back");
    lost = false;
  });
}

/** Settles when there is no connection to Redis, at once if there is none now. */
export function whenLost(redis: Redis): Promise<void> {
  if (redis.status !== "ready") return Promise.resolve();
  return new Promise((resolve) => redis.once("close", () => resolve()));
}
