import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { isSupported, OLDEST_VERSION } from "./version.ts";

/**
 * Refuses a server that would break queues: one older than 6.2, or one that may evict keys when its memory is full (a lost
 * key is a lost job). A server that forbids INFO or CONFIG to this user is accepted.
 * @param where the address for messages
 * @throws LabelmillError REDIS_UNFIT
 */
export async function checkRedis(redis: Redis, where: string): Promise<void> {
  const info = await readInfo(redis);
  const version = info.get("redis_version");
  if (version !== undefined && !isSupported(version)) {
    throw new LabelmillError(
      "REDIS_UNFIT",
      `Expected Redis ${OLDEST_VERSION} or newer, or Valkey, at ${where}; got version ${version}. Start a newer server, ` +
        "for example: docker run -d -p 6379:6379 valkey/valkey:9.0.7-alpine",
    );
  }
  const policy =
    info.get("maxmemory_policy") ?? (await unlessRefused(redis.config("GET", "maxmemory-policy"), [])).at(1);
  if (policy !== undefined && policy !== "noeviction") {
    throw new LabelmillError(
      "REDIS_UNFIT",
      `Expected maxmemory-policy noeviction at ${where}; got ${policy}, which would drop jobs when memory is full. ` +
        "Run: redis-cli CONFIG SET maxmemory-policy noeviction (and set it in redis.conf to keep it after a restart)",
    );
  }
}

/** The fields of the server's INFO, by name (`redis_version`, `aof_enabled`, …); empty if this user may not read it. */
export async function readInfo(redis: Redis): Promise<ReadonlyMap<string, string>> {
  return parseInfo(await unlessRefused(redis.info(), ""));
}

/** The reply, or `otherwise` if the server replied with an error: ACLs and managed services forbid such commands. */
async function unlessRefused<T>(reply: Promise<unknown>, otherwise: T): Promise<T> {
  try {
    return (await reply) as T;
  } catch (error) {
    if (error instanceof Error && error.name === "ReplyError") return otherwise;
    throw error;
  }
}

function parseInfo(text: string): Map<string, string> {
  const pairs = text.split("\r\n").map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, Math.max(colon, 0)), line.slice(colon + 1)];
  });
  return new Map(pairs);
}
