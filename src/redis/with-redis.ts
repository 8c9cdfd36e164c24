import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { describeAddress, openRedis, type RedisAddress } from "./connect.ts";

const GONE_MS = 5_000;

/**
 * Does `work` over a connection of its own, which is ended afterwards.
 * @throws LabelmillError what `openRedis` throws; REDIS_UNREACHABLE where the connection was lost meanwhile; what `work` throws
 */
export async function withRedis<T>(address: RedisAddress, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = await openRedis(address, "producer");
  const wasLost = noteLoss(redis);
  try {
    return await unlessGone(redis, work(redis));
  } catch (error) {
    throw wasLost() ? lostRedis(address, error) : error;
  } finally {
    redis.disconnect();
  }
}

/** @returns whether the connection was lost since, be it back or not */
export function noteLoss(redis: Redis): () => boolean {
  let lost = false;
  redis.once("close", () => {
    lost = true;
  });
  return () => lost || redis.status !== "ready";
}

/** What `work` comes to; undefined as soon as the connection is lost, which is tried again by itself. */
export async function unlessLost<T>(redis: Redis, work: () => Promise<T>): Promise<T | undefined> {
  const { promise: lost, resolve } = Promise.withResolvers<undefined>();
  const note = () => resolve(undefined);
  redis.on("close", note);
  try {
    return await Promise.race([work(), lost]);
  } catch (error) {
    // A command that is sent while there is no connection fails at once.
    if (error instanceof LabelmillError || redis.status === "ready") throw error;
    return undefined;
  } finally {
    redis.off("close", note);
  }
}

/**
 * What `work` comes to; rejects if the connection is lost for 5 s. ioredis lets commands that were under way wait for ever, and forgets them when
 * it is disconnected, where something between (a proxy, a balancer) takes connections on and closes them.
 */
export async function unlessGone<T>(redis: Redis, work: Promise<T>): Promise<T> {
  const { promise: gone, reject } = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const closed = () => {
    timer ??= setTimeout(() => reject(new Error("the connection is closed, and does not come back")), GONE_MS);
  };
  const ready = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  redis.on("close", closed).on("ready", ready);
  try {
    return await Promise.race([work, gone]);
  } finally {
    redis.off("close", closed).off("ready", ready);
    clearTimeout(timer);
    work.catch(() => {});
  }
}

/** What failed because the connection was lost. An error of ours says more, and stays. */
export function lostRedis(address: RedisAddress, cause: unknown): LabelmillError {
  if (cause instanceof LabelmillError) return cause;
  const message = `lost Redis at ${describeAddress(address)}: run the same command again when it is back`;
  return new LabelmillError("REDIS_UNREACHABLE", message, { cause });
}
