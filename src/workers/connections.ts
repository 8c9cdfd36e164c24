import type { Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { connectRedis, describeAddress, type RedisAddress } from "../redis/connect.ts";
import { trackDuplicates } from "../redis/duplicates.ts";
import { reportOutages, whenLost } from "../redis/outages.ts";

/** The worker's connections to Redis. BullMQ duplicates the first one for each of its workers. */
export type Connections = { redis: Redis; subscriber: Redis };

/** Connects and logs each outage of Redis once. `opening` closes the connections, in order if Redis is reachable. */
export function openConnections(address: RedisAddress, log: Logger, opening: AsyncDisposableStack): Connections {
  const redis = connectRedis(address, "worker");
  opening.defer(() => quit(redis));
  opening.defer(trackDuplicates(redis));
  const where = describeAddress(address);
  reportOutages(redis, {
    lost: (why) =>
      log.warn(
        { redis: where, why },
        "connection to Redis lost: trying again. Running slices go on, and no other slice is taken until it is back",
      ),
    back: (seconds) => log.warn({ redis: where, seconds: Math.round(seconds) }, "connection to Redis is back"),
  });
  const subscriber = connectRedis(address, "worker");
  opening.defer(() => subscriber.disconnect());
  return { redis, subscriber };
}

async function quit(redis: Redis): Promise<void> {
  if (redis.status === "ready") await Promise.race([redis.quit().catch(() => {}), whenLost(redis)]);
  redis.disconnect();
}
