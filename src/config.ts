import { availableParallelism, homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { LabelmillError } from "./errors.ts";
import { commonSettings } from "./settings/common.ts";
import { SERVER_SETTINGS } from "./settings/server.ts";
import { WORK_SETTINGS } from "./settings/work.ts";

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

const DEFAULT_CACHE_DIR = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "labelmill");

/**
 * Every setting: its bounds, its default and its meaning. The key gives the names of the flag (`--slice-items`), of the environment
 * variable (`LABELMILL_SLICE_ITEMS`; some, such as `REDIS_URL`, keep their usual names) and of the key in the file. Flags override the
 * environment, and the environment overrides the file.
 */
export const ConfigSchema = z.strictObject({
  ...commonSettings({ catalog: DEFAULT_CATALOG, cacheDir: DEFAULT_CACHE_DIR }),
  ...WORK_SETTINGS,
  ...SERVER_SETTINGS,
});
type Settings = z.infer<typeof ConfigSchema>;
/** The settings, and the number of threads of libuv's pool, which decodes images (`UV_THREADPOOL_SIZE`). */
export type Config = Readonly<Settings & { poolThreads: number }>;
export type ConfigKey = keyof Settings;
export const CONFIG_KEYS = Object.keys(ConfigSchema.shape) as ConfigKey[];
/** The settings of `labelmill serve`. The other commands have no flags for them. */
export const SERVER_KEYS = Object.keys(SERVER_SETTINGS) as ConfigKey[];

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
  "webhookSecrets",
  "webhooks",
]);
const NO_FLAGS: ReadonlySet<string> = new Set<ConfigKey>(["redisPassword", "hfToken", "webhookSecrets"]);
/** Settings with a structure. They have a key in the file only. */
const FILE_ONLY: ReadonlySet<string> = new Set<ConfigKey>(["webhooks", "rules"]);

/** Whether a setting has a flag. Secrets have no flag, since all users of a machine can see the flags of its processes. */
export function isFlag(key: ConfigKey): boolean {
  return !NO_FLAGS.has(key) && !FILE_ONLY.has(key);
}

/** Whether a setting has an environment variable. */
export function isVariable(key: ConfigKey): boolean {
  return !FILE_ONLY.has(key);
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
  for (const key of CONFIG_KEYS.filter(isVariable)) take(key, given.variables?.[envName(key)], envName(key));
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
