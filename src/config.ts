import { availableParallelism, homedir, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { z } from "zod";
import { LabelmillError } from "./errors.ts";
import { DeviceSettingSchema } from "./schemas/device.ts";
import { DTYPES } from "./schemas/dtype.ts";
import { EventsSchema, MAX_SLICE_ITEMS } from "./schemas/job.ts";

/** Cores that this process may use. */
export const CORES = availableParallelism();

// sharp decodes in libuv's pool, whose default of 4 threads also serves files and DNS; it reads the variable at its first use.
process.env.UV_THREADPOOL_SIZE ??= String(Math.max(4, CORES + 2));
const POOL_THREADS = Number(process.env.UV_THREADPOOL_SIZE) || 4;

// onnxruntime reports its use, and leaves files in the temporary folder, unless it is told not to before it loads.
process.env.ORT_DISABLE_TELEMETRY ??= "1";

/** The user's own catalog of models where no other is named: the only one that need not be there. */
export const DEFAULT_CATALOG = resolve(
  process.env.XDG_CONFIG_HOME || join(homedir(), ".config"),
  "labelmill",
  "catalog.json",
);

const ms = z.coerce.number().int().min(100).max(3_600_000);
const count = z.coerce.number().int().min(1);
const MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A time with its unit, as milliseconds. */
const duration = z
  .string()
  .regex(/^\d{1,6}(ms|s|m|h|d)$/, "a time such as 90s, 30m, 24h or 7d")
  .transform((text) => Number.parseInt(text, 10) * MS[text.replace(/^\d+/, "") as keyof typeof MS]);
const flag = z.union([z.boolean(), z.stringbool()]);
const httpUrl = z
  .url({ protocol: /^https?$/, error: "an http:// or https:// URL" })
  .refine((url) => !/^https?:\/\/[^/?#]*@/i.test(url), "a URL without a user or a password");
const list = (separator: string) =>
  z.union([
    z.array(z.string()),
    z.string().transform((all) => all.split(separator).flatMap((each) => (each.trim() === "" ? [] : [each.trim()]))),
  ]);

/**
 * Every setting: its bounds, its default and what it means. From a key come the flag (`--slice-items`), the environment
 * variable (`LABELMILL_SLICE_ITEMS`; `REDIS_URL` and some others keep their usual names) and the key in the file. Flags go over the
 * environment, the environment over the file.
 */
export const ConfigSchema = z.strictObject({
  redisUrl: z
    .string()
    .regex(/^rediss?:\/\//, "a redis:// or rediss:// URL")
    .optional()
    .describe("Redis or Valkey, 6.2 or newer, `noeviction`. None: the command starts an empty server of its own."),
  redisPassword: z
    .string()
    .regex(/^[^\r\n\0]{1,10000}$/, "a password in one line")
    .optional()
    .describe("The password of Redis, for a URL that has none. Never a flag: flags are visible to others."),
  redisPasswordFile: z
    .string()
    .min(1)
    .optional()
    .describe("A file that holds that password and nothing else. Give the password in one place only."),
  logLevel: z
    .enum(["silent", "error", "warn", "info", "debug"])
    .default("warn")
    .describe("What goes to the log (standard error; JSON off a terminal)."),
  s3Endpoint: httpUrl.optional().describe("Where S3 is, for servers other than Amazon's."),
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
  cacheDir: z
    .string()
    .default(defaultCacheDir())
    .describe("Where pulled models and a downloaded Redis server are kept."),
  catalog: z
    .string()
    .min(1)
    .default(DEFAULT_CATALOG)
    .describe("Your own catalog of models, which goes over the one that comes with labelmill."),
  dtype: z
    .enum(["auto", ...DTYPES])
    .default("auto")
    .describe(
      "Precision of the models: `fp32`, `fp16`, `q8`. `auto` takes `fp16` on CUDA where a model has it, else `fp32`.",
    ),
  offline: flag.default(false).describe("Never ask the hub for models: take what is on this machine."),
  hfEndpoint: httpUrl
    .default("https://huggingface.co")
    .describe("The hub that models are pulled from, or a mirror of it."),
  hfToken: z
    .string()
    .regex(/^[\x21-\x7e]{1,1000}$/, "a token of the hub, in one line")
    .optional()
    .describe("A token of the hub, for repositories that ask for one. Never a flag: flags are visible to others."),
  sliceItems: count
    .max(MAX_SLICE_ITEMS)
    .optional()
    .describe(
      "Items in a slice: one job, one part. None: what the workers label in ten seconds, 500 where that is not known.",
    ),
  sliceBytes: count
    .min(1024)
    .max(64_000_000)
    .default(8_000_000)
    .describe("Bytes in a slice, whichever comes first; at most 1 MB of items that travel through Redis."),
  redisShare: z.coerce
    .number()
    .gt(0)
    .max(1)
    .default(0.8)
    .describe("Share of Redis's `maxmemory`, where it has one, above which planners add nothing."),
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
  device: DeviceSettingSchema.default("auto").describe(
    "Where models run: `cpu`, `cuda` (the first GPU), `cuda:N`, `cuda:all` (a thread each). `auto`: the first GPU if it works, else the CPU.",
  ),
  threads: count
    .max(64)
    .optional()
    .describe(
      "Inference threads of a model on the CPU, each with a session and so a copy of it. None: found while running.",
    ),
  intraOpThreads: count.max(64).optional().describe("Threads of one session. None: cores ÷ threads."),
  textBudget: count
    .max(1_000_000)
    .optional()
    .describe("Padded tokens in a batch of texts (longest × count). None: found while running, by length."),
  imageBudget: count.max(4096).optional().describe("Images in a batch. None: found while running."),
  imagesInFlight: count
    .max(4096)
    .optional()
    .describe("Images fetched, decoded or waiting for the model at a time. None: 64, or what its batches take."),
  decodeBytes: count
    .min(64_000_000)
    .max(1_000_000_000_000)
    .default(1_000_000_000)
    .describe(
      "Memory of all images that are decoded at a time, as estimated from their headers; one over it runs alone.",
    ),
  decodeMs: ms.min(1_000).default(60_000).describe("How long one image may take to decode."),
  lockMs: ms.default(10_000).describe("A job whose worker was not heard of for this long goes to another."),
  stallCheckMs: ms.default(5_000).describe("How often workers look for such jobs."),
  attempts: count.max(100).default(5).describe("Tries of a slice when Redis, the store or the device fails."),
  backoffMs: ms.default(1_000).describe("Wait before the second try; it doubles each time."),
  outageLimit: duration
    .prefault("24h")
    .describe(
      "How long a store that does not answer (refused, reset, time-out, 5xx, 429) is waited for, at no try's cost.",
    ),
  refusedLimit: duration
    .prefault("10m")
    .describe(
      "How long a store that refuses (401, 403, no such bucket, a full or read-only disk) is, before its runs fail.",
    ),
  heldBytes: count
    .max(64_000_000_000)
    .default(256_000_000)
    .describe("Bytes of labeled rows that a worker keeps while a store is out; what is more is labeled again later."),
  fullMs: ms
    .default(60_000)
    .describe("How long a submission waits for room in a Redis that is out of memory, before it fails."),
  textTimeoutMs: ms
    .default(10_000)
    .describe("Processor time that the tokenizer may take for one text; beyond it the row is an error (TEXT_TIMEOUT)."),
  graceMs: ms.default(10_000).describe("How long running slices may finish after SIGINT or SIGTERM."),
  allowPrivate: flag.default(false).describe("Fetch from private and loopback addresses too."),
  fileRoots: list(delimiter)
    .default([])
    .describe("Folders, besides the command's inputs and output, that `file:` references may open."),
  outputRoots: list(",")
    .optional()
    .describe(
      "Folders and `s3://` prefixes, besides the command's output, in which outputs may lie (commas between). None: all of `fileRoots` and `s3Roots`, which are writable then.",
    ),
});
type Settings = z.infer<typeof ConfigSchema>;
/** The settings, and what is not one: threads of libuv's pool, where images are decoded (`UV_THREADPOOL_SIZE`). */
export type Config = Readonly<Settings & { poolThreads: number }>;
export type ConfigKey = keyof Settings;
export const CONFIG_KEYS = Object.keys(ConfigSchema.shape) as ConfigKey[];

/** Names that other programs gave them. */
const USUAL_NAMES: Partial<Record<ConfigKey, string>> = {
  redisUrl: "REDIS_URL",
  redisPassword: "REDIS_PASSWORD",
  redisPasswordFile: "REDIS_PASSWORD_FILE",
  hfEndpoint: "HF_ENDPOINT",
  hfToken: "HF_TOKEN",
};
/** What may hold a secret is not shown where it is wrong. */
const NOT_SHOWN: ReadonlySet<string> = new Set<ConfigKey>([
  "redisUrl",
  "redisPassword",
  "s3Endpoint",
  "hfEndpoint",
  "hfToken",
]);
const NO_FLAGS: ReadonlySet<string> = new Set<ConfigKey>(["redisPassword", "hfToken"]);

/** Whether a setting may be a flag: everybody on a machine can see the flags of its processes. */
export function isFlag(key: ConfigKey): boolean {
  return !NO_FLAGS.has(key);
}

export function envName(key: ConfigKey): string {
  return USUAL_NAMES[key] ?? `LABELMILL_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
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
  for (const key of CONFIG_KEYS.filter(isFlag)) take(key, given.flags?.[key], flagName(key));

  const parsed = ConfigSchema.safeParse(merged);
  if (parsed.success) {
    const { cacheDir, catalog } = parsed.data;
    const paths = { cacheDir: resolve(cacheDir), catalog: resolve(catalog) };
    return Object.freeze({ ...parsed.data, ...paths, poolThreads: POOL_THREADS });
  }
  const issue = parsed.error.issues[0]!;
  const key = String(issue.path[0] ?? (issue.code === "unrecognized_keys" ? issue.keys[0] : ""));
  // A key that is none of ours may be a secret's, misspelt.
  const isShown = issue.code !== "unrecognized_keys" && !NOT_SHOWN.has(key);
  const came = isShown ? `, got ${JSON.stringify(merged[key])}` : "";
  throw new LabelmillError("CONFIG_INVALID", `${origin.get(key) ?? key}: ${issue.message}${came}`);
}

function defaultCacheDir(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "labelmill");
}
