import { Redis, type RedisOptions } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { backoffMs } from "../retry/backoff.ts";
import { causeOf } from "./cause.ts";
import { within } from "./deadline.ts";
import { checkRedis } from "./fitness.ts";

/** Where a server listens: `redis://` or `rediss://` (TLS), or the path of a unix socket. */
export type RedisAddress = { url: string } | { socket: string };

/**
 * A worker's commands wait for a lost connection to come back, as BullMQ's workers need. A producer's fail at once while
 * there is no connection, so that a caller hears of an outage instead of filling memory.
 */
export type RedisRole = "producer" | "worker";

const OPEN_TIMEOUT_MS = 5_000;
const RECONNECT_BACKOFF = { firstMs: 50, maxMs: 2_000, growth: "linear" } as const;

const COMMON = {
  lazyConnect: true,
  connectTimeout: OPEN_TIMEOUT_MS,
  // A server that is loading its data is asked again this often, not after its own estimate: the deadline must win.
  maxLoadingRetryTime: 500,
  enableAutoPipelining: false,
  retryStrategy: (times: number) => backoffMs(times, RECONNECT_BACKOFF),
} satisfies RedisOptions;

const BY_ROLE = {
  producer: { enableOfflineQueue: false, maxRetriesPerRequest: 1 },
  worker: { maxRetriesPerRequest: null },
} satisfies Record<RedisRole, RedisOptions>;

/**
 * A client that is not connected yet: `connect()` does it, a worker's first command too. It reconnects by itself; its
 * `error` events never go unhandled. Throws CONFIG_INVALID for an address that is not one.
 */
export function connectRedis(address: RedisAddress, role: RedisRole): Redis {
  return quiet(new Redis({ ...place(address), ...COMMON, ...BY_ROLE[role] }));
}

/**
 * Commands carry a failure to their caller; ioredis would print an `error` event that has no listener. This applies to
 * connections that are made from this one, too.
 */
function quiet(redis: Redis): Redis {
  redis.on("error", () => {});
  failSentCommands(redis);
  const duplicate = redis.duplicate.bind(redis);
  redis.duplicate = (override) => quiet(duplicate(override));
  return redis;
}

/** What ioredis keeps of commands that were sent before the connection was lost. */
type SentCommands = {
  retryAttempts: number;
  prevCommandQueue: { length: number; shift(): { command: { reject(error: Error): void } } } | null;
};

/**
 * Fails commands that were sent before the loss, after `maxRetriesPerRequest` more connections. ioredis forgets them where
 * an address takes connections and drops them, as a load balancer without its server does: they would wait for its end.
 */
function failSentCommands(redis: Redis): void {
  const { maxRetriesPerRequest } = redis.options;
  if (typeof maxRetriesPerRequest !== "number") return;
  redis.on("close", () => {
    const { retryAttempts, prevCommandQueue } = redis as unknown as SentCommands;
    if (retryAttempts % (maxRetriesPerRequest + 1) !== 0) return;
    while (prevCommandQueue?.length) prevCommandQueue.shift().command.reject(new Error("Connection is closed."));
  });
}

/**
 * A ready connection to a server that is fit for queues, within 5 s. Throws REDIS_UNREACHABLE (the address without its
 * password, the cause, the mend), REDIS_UNFIT, or CONFIG_INVALID for an address that is not one; nothing stays open then.
 */
export async function openRedis(address: RedisAddress, role: RedisRole): Promise<Redis> {
  const redis = connectRedis(address, role);
  const where = describeAddress(address);
  // ioredis rejects with "Connection is closed."; why it closed is only in the event.
  let reason: unknown;
  const remember = (error: unknown) => {
    reason = error;
  };
  redis.on("error", remember);
  try {
    await within(
      OPEN_TIMEOUT_MS,
      redis.connect().then(() => checkRedis(redis, where)),
    );
    return redis;
  } catch (error) {
    redis.disconnect();
    if (error instanceof LabelmillError) throw error;
    const { words, mend } = causeOf(reason ?? error);
    throw new LabelmillError("REDIS_UNREACHABLE", `Redis at ${where} cannot be used: ${words}. To mend it, ${mend}.`, {
      cause: reason ?? error,
    });
  } finally {
    redis.off("error", remember);
  }
}

/**
 * The address for people and logs: a password shows as `***`, a user without one too (it may be a password in the wrong
 * place), and nothing of a text that is no URL shows.
 */
export function describeAddress(address: RedisAddress): string {
  if ("socket" in address) return `unix:${address.socket}`;
  const url = URL.parse(address.url);
  if (url === null || url.host === "") return "(not a URL)";
  const user = url.password === "" ? url.username && "***@" : `${url.username}:***@`;
  return `${url.protocol}//${user}${url.host}${url.pathname}`;
}

function place(address: RedisAddress): RedisOptions {
  if ("socket" in address) return { path: address.socket };
  const url = URL.parse(address.url);
  const database = /^\/?(\d{0,5})$/.exec(url?.pathname ?? "")?.[1];
  const tls = url?.protocol === "rediss:";
  if (url === null || url.hostname === "" || !(tls || url.protocol === "redis:") || database === undefined) {
    throw new LabelmillError(
      "CONFIG_INVALID",
      `Expected REDIS_URL to be redis://[user:password@]host[:port][/database], or rediss:// for TLS; got ${describeAddress(address)}.`,
    );
  }
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(url.port || 6379),
    username: decode(url.username),
    password: decode(url.password),
    db: Number(database),
    ...(tls ? { tls: {} } : {}),
  };
}

/** A user or password as the server knows it; undefined where the URL has none. A stray `%` stands for itself. */
function decode(part: string): string | undefined {
  if (part === "") return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
