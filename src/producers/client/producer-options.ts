import { z } from "zod";
import { DEFAULT_FULL_MS, DEFAULT_SLICE_ITEMS, MAX_SLICE_ITEMS } from "../../schemas/job.ts";
import type { S3Settings } from "../../storage/s3/s3.ts";

const S3_SHAPE = {
  /** An `http(s)://HOST[:PORT]` URL without credentials. Default: the AWS SDK's. */
  endpoint: z.string(),
  /** Default: the AWS SDK's, from the environment, the profile or the machine. */
  region: z.string(),
  /** Put the bucket's name in the path of a URL, not in its host name. Default: `false`. */
  pathStyle: z.boolean(),
} satisfies Record<keyof S3Settings, unknown>;

export const ProducerOptionsSchema = z.strictObject({
  /**
   * The Redis server of the workers: `redis://[user:password@]host[:port][/database]`, or
   * `rediss://` for TLS.
   */
  redisUrl: z.string(),
  /**
   * Where results go: `s3://BUCKET/PREFIX/`, or `file:///FOLDER/` if all workers see that folder. A
   * submission of one slice becomes the object `single-RUN.jsonl` there, a larger one the folder
   * `RUN/`.
   */
  output: z.string().regex(/^(s3|file):\/\//, "expected s3://BUCKET/PREFIX/ or file:///FOLDER/"),
  /**
   * The S3 server. Credentials always come from the AWS SDK (environment, profile or machine).
   * Default: the AWS SDK's settings.
   */
  s3: z.strictObject(S3_SHAPE).partial().optional(),
  /**
   * The most items of one slice, from 1 to 20,000. A submission that fits into one slice (at most
   * 1,000,000 bytes as well) is one job; a larger one is a run of many jobs. Default: 500.
   */
  sliceItems: z.int().min(1).max(MAX_SLICE_ITEMS).default(DEFAULT_SLICE_ITEMS),
  /**
   * How long a submission waits for room in a Redis that is out of memory, in milliseconds, at
   * least 0. Default: 60,000.
   */
  fullMs: z.int().min(0).default(DEFAULT_FULL_MS),
});

/**
 * The options of {@link createProducer}.
 *
 * @interface
 */
export type ProducerOptions = z.input<typeof ProducerOptionsSchema>;

/** The options with their defaults. */
export type ResolvedProducerOptions = z.infer<typeof ProducerOptionsSchema>;
