import type { S3Settings } from "../../storage/s3/s3.ts";
import type { Producer } from "./producer.ts";
import { type ProducerOptions, ProducerOptionsSchema } from "./producer-options.ts";
import { openProducer, wrongUse } from "./redis-producer.ts";

/**
 * Connects to Redis and returns a producer.
 *
 * @param given - The options of the producer.
 * @returns A producer with two open connections to Redis. Close it.
 * @throws {@link LabelmillError} with one of these codes. The message says how to fix it:
 * - `USAGE`: an option is unknown or has an invalid value.
 * - `CONFIG_INVALID`: `redisUrl` or `s3.endpoint` is not a valid URL of its kind.
 * - `REDIS_UNREACHABLE`: no connection within 5 seconds.
 * - `REDIS_UNFIT`: the server is older than Redis 6.2, or it may drop keys when its memory is full.
 */
export async function createProducer(given: ProducerOptions): Promise<Producer> {
  const parsed = ProducerOptionsSchema.safeParse(given);
  if (!parsed.success) throw wrongUse("createProducer", parsed.error);
  const { redisUrl, s3, ...options } = parsed.data;
  return openProducer({ url: redisUrl }, { ...options, s3: s3 as S3Settings | undefined });
}
