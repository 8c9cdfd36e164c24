import { availableParallelism, homedir, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { z } from "zod";
import { LabelmillError } from "./errors.ts";
import { DeviceSettingSchema } from "./schemas/device.ts";
import { DTYPES } from "./schemas/dtype.ts";
import { DEFAULT_FULL_MS, EventsSchema, MAX_SLICE_ITEMS } from "./schemas/job.ts";
import { count, duration, flag, httpUrl, list, ms } from "./setting-types.ts";

/** Cores that this process may use. */
export const CORES = availableParallelism();

/** Threads of libuv's pool if `UV_THREADPOOL_SIZE` is not set. */
const LIBUV_POOL_THREADS = 4;

/**
 * Sets the environment of this process for native libraries, unless the user has set it. Each entry point of the command calls this
 * first: libuv reads its variable when its pool is first used, and onnxruntime when it loads.
 */
export function prepareProcess(): void {
  // sharp decodes images in libuv's pool. The default of 4 threads also serves files and DNS.
  process.env.UV_THREADPOOL_SIZE ??= String(Math.max(LIBUV_POOL_THREADS, CORES + 2));
  // Without this, onnxruntime sends telemetry, and leaves files in the temporary folder.
  process.env.ORT_DISABLE_TELEMETRY ??= "1";
}

/** The catalog of the user if no other is set. Only this one may be missing. */
export const DEFAULT_CATALOG = resolve(
  process.env.XDG_CONFIG_HOME || join(homedir(), ".config"),
  "labelmill",
  "catalog.json",
);

/**
 * Every setting: its bounds, its default and its meaning. The key gives the names of the flag (`--slice-items`), of the environment
 * variable (`LABELMILL_SLICE_ITEMS`; some, such as `REDIS_URL`, keep their usual names) and of the key in the file. Flags override the
 * environment, and the environment overrides the file.
 */
export const ConfigSchema = z.strictObject({
  redisUrl: z
    .string()
    .regex(/^rediss?:\/\//, "a redis:// or rediss:// URL")
    .optional()
    .describe("Redis or Valkey, 6.2 or newer, with `noeviction`. If omitted, the command starts its own empty server."),
  redisPassword: z
    .string()
    .regex(/^[^\r\n\0]{1,10000}$/, "a password in one line")
    .optional()
    .describe("Password of Redis, for a URL without one. Not a flag, because other users can see flags."),
  redisPasswordFile: z
    .string()
    .min(1)
    .optional()
    .describe("File that contains only this password. Set the password in one place only."),
  logLevel: z
    .enum(["silent", "error", "warn", "info", "debug"])
    .default("warn")
    .describe("Lowest level of the log messages (on standard error; JSON if that is not a terminal)."),
  s3Endpoint: httpUrl.optional().describe("Address of an S3 server that is not Amazon's."),
  s3Region: z
    .string()
    .min(1)
    .optional()
    .describe("Region of the buckets. If omitted, as the AWS SDK finds it (`AWS_REGION`, profile)."),
  s3PathStyle: flag
    .default(false)
    .describe("Put the bucket in the path of a URL, not in the host name. Most other S3 servers need this."),
  s3Roots: list(",")
    .default([])
    .describe(
      "`s3://` buckets and prefixes that may be opened, besides the inputs and the output of the command (separated by commas).",
    ),
  cacheDir: z.string().default(defaultCacheDir()).describe("Folder for pulled models and a downloaded Redis server."),
  catalog: z
    .string()
    .min(1)
    .default(DEFAULT_CATALOG)
    .describe("Your own catalog of models. Its entries override those of the catalog that comes with labelmill."),
  dtype: z
    .enum(["auto", ...DTYPES])
    .default("auto")
    .describe(
      "Precision of the models: `fp32`, `fp16`, `q8`. `auto`: `fp16` on CUDA if the model has it, else `fp32`.",
    ),
  offline: flag.default(false).describe("Never contact the hub; use only models on this machine."),
  hfEndpoint: httpUrl.default("https://huggingface.co").describe("Hub that models are pulled from, or a mirror of it."),
  hfToken: z
    .string()
    .regex(/^[\x21-\x7e]{1,1000}$/, "a token of the hub, in one line")
    .optional()
    .describe("Token of the hub, for repositories that require one. Not a flag, because other users can see flags."),
  sliceItems: count
    .max(MAX_SLICE_ITEMS)
    .optional()
    .describe(
      "Items in a slice (one job, one part). If omitted, what the workers label in ten seconds, or 500 if their rate is unknown.",
    ),
  sliceBytes: count
    .min(1024)
    .max(64_000_000)
    .default(8_000_000)
    .describe("Most bytes in a slice. If its items travel through Redis, at most 1 MB."),
  redisShare: z.coerce
    .number()
    .gt(0)
    .max(1)
    .default(0.8)
    .describe(
      "Share of the `maxmemory` of Redis above which planners add no slices. No effect if `maxmemory` is not set.",
    ),
  windowSlices: count.max(10_000).default(32).describe("Most slices of one run that are queued or active at a time."),
  events: EventsSchema.default("none").describe(
    "Events on the results queue for each committed slice: `none`, `parts` (counts), `rows` (counts, and the rows of small slices).",
  ),
  resultsMaxWaiting: count
    .max(10_000_000)
    .default(10_000)
    .describe("Most unread events on the results queue. Beyond this, the oldest are dropped."),
  concurrency: count
    .max(1000)
    .default(256)
    .describe("Most slices that a worker processes at a time. It takes slices by their number of items."),
  device: DeviceSettingSchema.default("auto").describe(
    "Where models run: `cpu`, `cuda` (the first GPU), `cuda:N`, `cuda:all` (one thread for each GPU). `auto`: the first GPU if it works, else the CPU.",
  ),
  threads: count
    .max(64)
    .optional()
    .describe(
      "Inference threads of a model on the CPU. Each has a session with its own copy of the model. If omitted, tuned while running.",
    ),
  intraOpThreads: count.max(64).optional().describe("Threads of one session. If omitted, cores ÷ threads."),
  textBudget: count
    .max(1_000_000)
    .optional()
    .describe(
      "Most padded tokens in a batch of texts (longest text × number of texts). If omitted, tuned while running, for each length.",
    ),
  imageBudget: count.max(4096).optional().describe("Most images in a batch. If omitted, tuned while running."),
  imagesInFlight: count
    .max(4096)
    .optional()
    .describe(
      "Most images that are fetched, decoded or waiting for the model at a time. If omitted, 64, or more if the batches need it.",
    ),
  decodeBytes: count
    .min(64_000_000)
    .max(1_000_000_000_000)
    .default(1_000_000_000)
    .describe(
      "Memory for all images that are decoded at a time, estimated from their headers. An image above this is decoded alone.",
    ),
  decodeMs: ms.min(1_000).default(60_000).describe("Time limit for decoding one image."),
  lockMs: ms
    .default(10_000)
    .describe("Job lock duration. If a worker does not renew the lock in time, the job is retried by another worker."),
  stallCheckMs: ms.default(5_000).describe("How often workers look for jobs with an expired lock."),
  attempts: count.max(100).default(5).describe("Attempts at a slice if Redis, the store or the device fails."),
  backoffMs: ms.default(1_000).describe("Wait before the second attempt. It doubles before each further attempt."),
  outageLimit: duration
    .prefault("24h")
    .describe(
      "How long work waits for a store that is not available (refused, reset, time-out, 5xx, 429). Waiting uses no attempt.",
    ),
  refusedLimit: duration
    .prefault("10m")
    .describe(
      "How long work waits for a store that refuses access (401, 403, no such bucket, full or read-only disk) before its runs fail.",
    ),
  heldBytes: count
    .max(64_000_000_000)
    .default(256_000_000)
    .describe(
      "Bytes of labeled rows that a worker keeps in memory during an outage of a store. Further rows are labeled again later.",
    ),
  fullMs: ms
    .default(DEFAULT_FULL_MS)
    .describe("How long a submission waits for room in a Redis that is out of memory."),
  textTimeoutMs: ms
    .default(10_000)
    .describe(
      "Processor time limit for tokenizing one text. Above this, the text becomes a row in error (TEXT_TIMEOUT).",
    ),
  graceMs: ms.default(10_000).describe("How long running slices may continue after SIGINT or SIGTERM."),
  allowPrivate: flag.default(false).describe("Also fetch from private and loopback addresses."),
  fileRoots: list(delimiter)
    .default([])
    .describe(
      "Folders that `file:` references may open, besides the inputs and the output of the command (separated as in `PATH`).",
    ),
  outputRoots: list(",")
    .optional()
    .describe(
      "Folders and `s3://` prefixes that outputs may be in, besides the output of the command (separated by commas). If omitted, all of `fileRoots` and `s3Roots`, which are then writable.",
    ),
});
type Settings = z.infer<typeof ConfigSchema>;
/** The settings, and the number of threads of libuv's pool, which decodes images (`UV_THREADPOOL_SIZE`). */
export type Config = Readonly<Settings & { poolThreads: number }>;
export type ConfigKey = keyof Settings;
export const CONFIG_KEYS = Object.keys(ConfigSchema.shape) as ConfigKey[];

/** Names of environment variables that other programs use too. */
const USUAL_NAMES: Partial<Record<ConfigKey, string>> = {
  redisUrl: "REDIS_URL",
  redisPassword: "REDIS_PASSWORD",
  redisPasswordFile: "REDIS_PASSWORD_FILE",
  hfEndpoint: "HF_ENDPOINT",
  hfToken: "HF_TOKEN",
};
/** Settings that may contain a secret. Messages do not show their values. */
const NOT_SHOWN: ReadonlySet<string> = new Set<ConfigKey>([
  "redisUrl",
  "redisPassword",
  "s3Endpoint",
  "hfEndpoint",
  "hfToken",
]);
const NO_FLAGS: ReadonlySet<string> = new Set<ConfigKey>(["redisPassword", "hfToken"]);

/** Whether a setting has a flag. Secrets have no flag, since all users of a machine can see the flags of its processes. */
export function isFlag(key: ConfigKey): boolean {
  return !NO_FLAGS.has(key);
}

export function envName(key: ConfigKey): string {
  return USUAL_NAMES[key] ?? `LABELMILL_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

export function flagName(key: ConfigKey): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** The environment of the process. */
export type Environment = {
  path: string;
  temporaryDir: string;
  variables: Readonly<Record<string, string | undefined>>;
};

export function readEnvironment(): Environment {
  return { path: process.env.PATH ?? "", temporaryDir: tmpdir(), variables: process.env };
}

/**
 * Merges and validates the settings.
 * @param given flags by key, undefined if not given; the environment variables; the parsed settings file
 * @throws LabelmillError CONFIG_INVALID that names the place of the value, what was expected and what was got
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
  for (const key of CONFIG_KEYS.filter(isFlag)) take(key, given.flags?.[key], flagName(key));

  const parsed = ConfigSchema.safeParse(merged);
  if (parsed.success) {
    const { cacheDir, catalog } = parsed.data;
    const poolThreads = Number(process.env.UV_THREADPOOL_SIZE) || LIBUV_POOL_THREADS;
    return Object.freeze({ ...parsed.data, cacheDir: resolve(cacheDir), catalog: resolve(catalog), poolThreads });
  }
  const issue = parsed.error.issues[0]!;
  const key = String(issue.path[0] ?? (issue.code === "unrecognized_keys" ? issue.keys[0] : ""));
  // An unknown key may be the misspelt key of a secret.
  const isShown = issue.code !== "unrecognized_keys" && !NOT_SHOWN.has(key);
  const got = isShown ? `, got ${JSON.stringify(merged[key])}` : "";
  throw new LabelmillError("CONFIG_INVALID", `${origin.get(key) ?? key}: ${issue.message}${got}`);
}

function defaultCacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "labelmill");
}
