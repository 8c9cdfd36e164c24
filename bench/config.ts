import { join } from "node:path";
import { type Config, loadConfig, readEnvironment } from "../src/config.ts";

/** The defaults, independent of the caller's settings, except for where the Redis server is found. */
export function defaultConfig(): Config {
  return loadConfig({ flags: { cacheDir: readEnvironment().variables.LABELMILL_CACHE_DIR } });
}

/** The cache folder for what takes long to make or to fetch. */
export function cacheFolder(): string {
  return join(defaultConfig().cacheDir, "bench");
}

/** Time that the sleeping model takes for each text of a batch. */
export const SLEEP_MS = 20;
