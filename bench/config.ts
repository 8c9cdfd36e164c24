import { join } from "node:path";
import { type Config, loadConfig, readEnvironment } from "../src/config.ts";

/** The defaults, whatever the caller's settings; only the Redis server may have to be looked for where they say. */
export function defaultConfig(): Config {
  return loadConfig({ flags: { cacheDir: readEnvironment().variables.LABELMILL_CACHE_DIR } });
}

/** Where what takes long to make or to fetch is kept for the next time. */
export function cacheFolder(): string {
  return join(defaultConfig().cacheDir, "bench");
}

/** What a text takes of the model that sleeps, however many are in its batch. */
export const SLEEP_MS = 20;
