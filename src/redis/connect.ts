import { Redis, type RedisOptions } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { backoffMs } from "../retry/backoff.ts";
import { checkRedis } from "./check-server.ts";
import { causeOf } from "./connection-error.ts";
import { within } from "./deadline.ts";

/** Where a server listens: `redis://` or `rediss://` (TLS), or the path of a unix socket. */
export type RedisAddress = { url: string } | { socket: string };

/**
 * The commands of a worker wait until a lost connection is back, as BullMQ's workers need. The commands of a producer fail
 * immediately without a connection, so that the caller gets an error instead of filling memory.
 */
export type RedisRole = "producer" | "worker";

const OPEN_TIMEOUT_MS = 5_000;
const RECONNECT_BACKOFF = { firstMs: 50, maxMs: 2_000, growth: "linear" } as const;

const COMMON = {
  lazyConnect: true,
  connectTimeout: OPEN_TIMEOUT_MS,
  // A server that loads its data is retried this often, not after its own estimate, which may be longer than the timeout.
  maxLoadingRetryTime: 500,
  enableAutoPipelining: false,
  retryStrategy: (times: number) => backoffMs(times, RECONNECT_BACKOFF),
} satisfies RedisOptions;

const BY_ROLE = {
  producer: { enableOfflineQueue: false, maxRetriesPerRequest: 1 },
  worker: { maxRetriesPerRequest: null },
} satisfies Record<RedisRole, RedisOptions>;

/**
 * Creates a client that is not connected yet. `connect()`, or the first command of a worker, connects it. It reconnects by
 * itself, and its `error` events are always handled.
 * @throws LabelmillError CONFIG_INVALID for an invalid address
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

/** How ioredis stores the commands that were sent before the connection was lost. */
type SentCommands = {
  retryAttempts: number;
  prevCommandQueue: { length: number; shift(): { command: { reject(error: Error): void } } } | null;
};

/**
 * Fails commands that were sent before the loss, after `maxRetriesPerRequest` more connections. ioredis forgets them if
 * an address accepts connections and drops them, as a load balancer without a server does. They would then never settle.
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
 * Connects to a server within 5 s, and checks that it is fit for queues.
 * @throws LabelmillError REDIS_UNREACHABLE (with the address without its password, the reason and the fix), REDIS_UNFIT, or
 * CONFIG_INVALID for an invalid address. The connection is closed then
 */
export async function openRedis(address: RedisAddress, role: RedisRole): Promise<Redis> {
  const redis = connectRedis(address, role);
  const where = describeAddress(address);
  // ioredis rejects with "Connection is closed."; only the event has the reason.
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
    const { reason: why, fix } = causeOf(reason ?? error);
    throw new LabelmillError("REDIS_UNREACHABLE", `Redis at ${where} cannot be used: ${why}. To fix it, ${fix}.`, {
      cause: reason ?? error,
    });
  } finally {
    redis.off("error", remember);
  }
}

/**
 * The address for messages and logs. `***` replaces a password, and also a user without a password, which may be a password
 * in the wrong place. A text that is not a URL is not shown.
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

/** Decodes a user or password; undefined if it is empty. An invalid escape is kept as it is. */
function decode(part: string): string | undefined {
  if (part === "") return undefined;
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
