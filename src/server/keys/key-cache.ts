import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import { z } from "zod";
import { within } from "../../redis/deadline.ts";
import { KEY_PREFIX } from "../../schemas/names.ts";
import { KeyRecordSchema } from "./key.ts";

/** How long a copy of the keys in Redis is used. */
export const CACHED_MS = 10_000;
/** A Redis that does not answer must not delay the read of the state store. */
const TIMEOUT_MS = 1_000;

export const KeySetSchema = z.object({
  /** Whether any key was ever created. */
  hasRecords: z.boolean(),
  keys: z.array(KeyRecordSchema),
});
/** All keys in use. */
export type KeySet = z.infer<typeof KeySetSchema>;

/** A copy of the keys of one state store in Redis, so that several servers read the store once for all of them. */
export class KeyCache {
  readonly #redis: Redis;
  readonly #key: string;

  /** @param state the URI of the state store */
  constructor(redis: Redis, state: string) {
    this.#redis = redis;
    this.#key = `${KEY_PREFIX}:keys:${createHash("sha256").update(state).digest("hex").slice(0, 16)}`;
  }

  /** Undefined if there is no copy, or Redis does not answer. */
  async read(): Promise<KeySet | undefined> {
    try {
      const text = await within(TIMEOUT_MS, this.#redis.get(this.#key));
      return text === null ? undefined : KeySetSchema.parse(JSON.parse(text));
    } catch {
      return undefined;
    }
  }

  /** Errors are ignored: the next server reads the store. */
  async write(keys: KeySet): Promise<void> {
    await within(TIMEOUT_MS, this.#redis.set(this.#key, JSON.stringify(keys), "PX", CACHED_MS)).catch(() => {});
  }

  async clear(): Promise<void> {
    await this.#redis.del(this.#key);
  }
}
