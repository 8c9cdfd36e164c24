import { availableParallelism, homedir, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { z } from "zod";
import { LabelmillError } from "./errors.ts";
import { EventsSchema, MAX_SLICE_ITEMS } from "./schemas/job.ts";

/** Cores that this process may use. */
export const CORES = availableParallelism();

/** Sessions of one thread are the fastest, but each holds a copy of the model. */
const DEFAULT_THREADS = Math.min(CORES, 4);

// sharp decodes in libuv's pool, whose default of 4 threads also serves files and DNS; it reads the variable at its first use.
process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, CORES + 2));

// onnxruntime reports its use, and leaves files in the temporary folder, unless it is told not to before it loads.
process.env.ORT_DISABLE_TELEMETRY ??= "1";

const ms = z.coerce.number().int().min(100).max(3_600_000);
const count = z.coerce.number().int().min(1);
const flag = z.union([z.boolean(), z.stringbool()]);
const list = (separator: string) =>
  z.union([
    z.array(z.string()),
    z.string().transform((all) => all.split(separator).flatMap((each) => (each.trim() === "" ? [] : [each.trim()]))),
  ]);

/**
 * Every setting: its bounds, its default and what it means. From a key come the flag (`--slice-items`), the environment
 * variable (`LABELMILL_SLICE_ITEMS`; `REDIS_URL` keeps its usual name) and the key in the file. Flags go over the
 * environment, the environment over the file.
 */
export const ConfigSchema = z.strictObject({
  redisUrl: z
    .string()
    .regex(/^rediss?:\/\//, "a redis:// or rediss:// URL")
    .optional()
    .describe("Redis or Valkey, 6.2 or newer, `noeviction`. None: the command starts an empty server of its own."),
  logLevel: z
    .enum(["silent", "error", "warn", "info", "debug"])
    .default("warn")
    .describe("What goes to the log (standard error; JSON off a terminal)."),
  s3Endpoint: z
    .url({ protocol: /^https?$/, error: "an http:// or https:// URL" })
    .optional()
    .describe("Where S3 is, for servers other than Amazon's."),
  s3Region: z
    .string()
    .min(1)
    .optional()
    .describe("The buckets' region. None: as the AWS SDK finds it (`AWS_REGION`, profile)."),
  s3PathStyle: flag
    .default(false)
    .describe("Buckets in the path, not in the host's name: most servers other than Amazon's."),
  s3Roots: list(",")
    .default([])
    .describe(
      "`s3://` buckets and prefixes, besides the command's inputs and output, that may be opened (commas between).",
    ),
  cacheDir: z.string().default(defaultCacheDir()).describe("Where a downloaded Redis server is kept."),
  sliceItems: count.max(MAX_SLICE_ITEMS).default(500).describe("Items in a slice: one job, one part."),
  sliceBytes: count.min(1024).max(64_000_000).default(1_000_000).describe("Bytes in a slice; whichever comes first."),
  windowSlices: count.max(10_000).default(32).describe("Slices of one run queued or active at a time."),
  events: EventsSchema.default("none").describe(
    "What the results queue is told of a committed slice: `none`, `parts`, `rows`.",
  ),
  resultsMaxWaiting: count
    .max(10_000_000)
    .default(10_000)
    .describe("Events that may wait unread; older ones are dropped."),
  concurrency: count
    .max(1000)
    .default(256)
    .describe("Most slices that a worker works on at a time (it takes them by items)."),
  device: z
    .enum(["auto", "cpu"])
    .default("auto")
    .describe("Where models run. `auto` takes the best there is, which is the CPU."),
  threads: count
    .max(64)
    .default(DEFAULT_THREADS)
    .describe("Inference threads of a model, each with a session and so a copy of it."),
  intraOpThreads: count
    .max(64)
    .default(Math.max(1, Math.floor(CORES / DEFAULT_THREADS)))
    .describe("Threads of one session; threads × these = cores is the fastest."),
  textBudget: count.max(1_000_000).default(512).describe("Padded tokens in a batch of texts (longest × count)."),
  imageBudget: count.max(4096).default(8).describe("Images in a batch."),
  imagesInFlight: count.max(4096).default(64).describe("Images fetched, decoded or waiting for the model at a time."),
  lockMs: ms.default(10_000).describe("A job whose worker was not heard of for this long goes to another."),
  stallCheckMs: ms.default(5_000).describe("How often workers look for such jobs."),
  attempts: count.max(100).default(5).describe("Tries of a slice when Redis, the store or the device fails."),
  backoffMs: ms.default(1_000).describe("Wait before the second try; it doubles each time."),
  fullMs: ms
    .default(60_000)
    .describe("How long a submission waits for room in a Redis that is out of memory, before it fails."),
  graceMs: ms.default(10_000).describe("How long running slices may finish after SIGINT or SIGTERM."),
  allowPrivate: flag.default(false).describe("Fetch from private and loopback addresses too."),
  fileRoots: list(delimiter)
    .default([])
    .describe("Folders, besides the command's inputs and output, that `file:` references may open."),
});
export type Config = Readonly<z.infer<typeof ConfigSchema>>;
export type ConfigKey = keyof Config;
export const CONFIG_KEYS = Object.keys(ConfigSchema.shape) as ConfigKey[];

export function envName(key: ConfigKey): string {
  return key === "redisUrl"
    ? "REDIS_URL"
    : `LABELMILL_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

export function flagName(key: ConfigKey): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Parts of the environment that are not settings of ours. */
export type Environment = {
  path: string;
  temporaryDir: string;
  variables: Readonly<Record<string, string | undefined>>;
};

export function readEnvironment(): Environment {
  return { path: process.env.PATH ?? "", temporaryDir: tmpdir(), variables: process.env };
}

/**
 * The settings, resolved once.
 * @param given flags by key, undefined where not given; the environment's variables; the parsed settings file
 * @throws LabelmillError CONFIG_INVALID naming where the value came from, what came and what was expected
 */
export function loadConfig(given: {
  flags?: Readonly<Record<string, unknown>>;
  variables?: Readonly<Record<string, string | undefined>>;
  file?: { name: string; content: unknown };
}): Config {
  const origin = new Map<string, string>();
  const merged: Record<string, unknown> = {};
  const take = (key: string, value: unknown, from: string) => {
    if (value === undefined || value === "") return;
    merged[key] = value;
    origin.set(key, from);
  };
  const file = given.file?.content ?? {};
  if (typeof file !== "object" || file === null || Array.isArray(file))
    throw new LabelmillError("CONFIG_INVALID", `${given.file?.name}: expected a JSON object of settings`);
  for (const [key, value] of Object.entries(file)) take(key, value, `${given.file?.name}: ${key}`);
  for (const key of CONFIG_KEYS) take(key, given.variables?.[envName(key)], envName(key));
  for (const key of CONFIG_KEYS) take(key, given.flags?.[key], flagName(key));

  const parsed = ConfigSchema.safeParse(merged);
  if (parsed.success) {
    return Object.freeze({ ...parsed.data, cacheDir: resolve(parsed.data.cacheDir), fileRoots: parsed.data.fileRoots });
  }
  const issue = parsed.error.issues[0]!;
  const key = String(issue.path[0] ?? (issue.code === "unrecognized_keys" ? issue.keys[0] : ""));
  const came = key === "redisUrl" ? "" : `, got ${JSON.stringify(merged[key])}`;
  throw new LabelmillError("CONFIG_INVALID", `${origin.get(key) ?? key}: ${issue.message}${came}`);
}

function defaultCacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "labelmill");
}
