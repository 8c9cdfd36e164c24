import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { describeAddress, openRedis, type RedisAddress } from "./connect.ts";

/** How long a connection may be closed before work on it fails. */
const MAX_CLOSED_MS = 5_000;

/**
 * Does `work` over a new connection, and closes it.
 * @throws LabelmillError the errors of `openRedis` and of `work`; REDIS_UNREACHABLE if the connection is lost meanwhile
 */
export async function withRedis<T>(address: RedisAddress, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = await openRedis(address, "producer");
  const wasLost = noteLoss(redis);
  try {
    return await rejectIfClosed(redis, work(redis));
  } catch (error) {
    throw wasLost() ? lostRedis(address, error) : error;
  } finally {
    redis.disconnect();
  }
}

/** @returns a function that returns whether the connection was lost since this call, even if it is back */
export function noteLoss(redis: Redis): () => boolean {
  let lost = false;
  redis.once("close", () => {
    lost = true;
  });
  return () => lost || redis.status !== "ready";
}

/** The result of `work`; undefined as soon as the connection is lost. ioredis reconnects by itself. */
export async function unlessLost<T>(redis: Redis, work: () => Promise<T>): Promise<T | undefined> {
  const { promise: lost, resolve } = Promise.withResolvers<undefined>();
  const note = () => resolve(undefined);
  redis.on("close", note);
  try {
    return await Promise.race([work(), lost]);
  } catch (error) {
    // A command without a connection fails immediately.
    if (error instanceof LabelmillError || redis.status === "ready") throw error;
    return undefined;
  } finally {
    redis.off("close", note);
  }
}

/**
 * The result of `work`. Rejects if the connection is closed for 5 s. If a proxy or load balancer accepts connections and closes them, ioredis
 * keeps sent commands waiting forever, and forgets them on `disconnect()`.
 */
export async function rejectIfClosed<T>(redis: Redis, work: Promise<T>): Promise<T> {
  const { promise: lost, reject } = Promise.withResolvers<never>();
  let timer: NodeJS.Timeout | undefined;
  const closed = () => {
    timer ??= setTimeout(
      () => reject(new Error("the connection is closed and could not be opened again")),
      MAX_CLOSED_MS,
    );
  };
  const ready = () => {
    clearTimeout(timer);
    timer = undefined;
  };
  redis.on("close", closed).on("ready", ready);
  try {
    return await Promise.race([work, lost]);
  } finally {
    redis.off("close", closed).off("ready", ready);
    clearTimeout(timer);
    work.catch(() => {});
  }
}

/** The error for work that failed because the connection was lost. A LabelmillError is more precise and is returned as it is. */
export function lostRedis(address: RedisAddress, cause: unknown): LabelmillError {
  if (cause instanceof LabelmillError) return cause;
  const message = `lost Redis at ${describeAddress(address)}: run the same command again when it is back`;
  return new LabelmillError("REDIS_UNREACHABLE", message, { cause });
}
