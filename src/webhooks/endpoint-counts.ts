import type { Redis } from "ioredis";
import { showUrl } from "../fetch/printable-url.ts";
import { KEY_PREFIX } from "../schemas/names.ts";
import type { Endpoint } from "./endpoints.ts";

const PREFIX = `${KEY_PREFIX}:webhooks:endpoint:`;
/** The endpoints by the time of their last try. */
const INDEX = `${KEY_PREFIX}:webhooks:endpoints`;
const MAX_ENDPOINTS = 1000;
const KEPT_SECONDS = 30 * 24 * 3600;

/** What happened at an endpoint in the last 30 days. Times are ISO 8601. */
export type Counts = {
  /** The URL without its query. */
  url: string;
  /** Deliveries that succeeded. */
  delivered: number;
  /** Tries that failed. */
  failedTries: number;
  /** Deliveries that became dead letters. */
  dead: number;
  deliveredAt?: string;
  failedAt?: string;
  /** Why the last try that failed did. */
  failure?: string;
};

/** Counts of deliveries by endpoint, in Redis. */
export class EndpointCounts {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async delivered(endpoint: Endpoint): Promise<void> {
    await this.#add(endpoint, ["delivered"], { deliveredAt: new Date().toISOString() });
  }

  /** @param isDead whether the delivery is a dead letter now */
  async failed(endpoint: Endpoint, failure: string, isDead: boolean): Promise<void> {
    const fields = { failedAt: new Date().toISOString(), failure };
    await this.#add(endpoint, isDead ? ["failedTries", "dead"] : ["failedTries"], fields);
  }

  /** The endpoints with a try in the last 30 days, by key. */
  async all(): Promise<Map<string, Counts>> {
    const found = new Map<string, Counts>();
    for (const key of await this.#redis.zrange(INDEX, "0", "-1")) {
      const { url, delivered, failedTries, dead, ...rest } = await this.#redis.hgetall(PREFIX + key);
      const count = (text: string | undefined) => Number(text ?? 0);
      if (url !== undefined)
        found.set(key, {
          ...{ url, delivered: count(delivered), failedTries: count(failedTries), dead: count(dead) },
          ...rest,
        });
    }
    return found;
  }

  async #add({ key, url }: Endpoint, counts: string[], fields: Record<string, string>): Promise<void> {
    const multi = this.#redis.multi().hset(PREFIX + key, { ...fields, url: showUrl(url) });
    for (const count of counts) multi.hincrby(PREFIX + key, count, 1);
    multi.expire(PREFIX + key, KEPT_SECONDS);
    multi.zadd(INDEX, Date.now(), key);
    multi.zremrangebyscore(INDEX, 0, Date.now() - KEPT_SECONDS * 1000);
    multi.zremrangebyrank(INDEX, 0, -MAX_ENDPOINTS - 1);
    await multi.exec();
  }
}
