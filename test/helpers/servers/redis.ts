import { homedir } from "node:os";
import path from "node:path";
import type { SearchOptions } from "../../../src/redis/embedded/debian.ts";
import { type EmbeddedRedis, startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";

/** The user's cache folder, so that tests fetch a server at most once. */
export function testCacheDir(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "labelmill");
}

/** Where tests look for a server: as the command does on this machine. */
export function testSearch(): SearchOptions {
  return { cacheDir: testCacheDir(), path: process.env.PATH ?? "", say: (line) => process.stderr.write(`${line}\n`) };
}

/** An empty server of the test's own. Close it, or `await using`. */
export function startTestRedis(): Promise<EmbeddedRedis> {
  return startEmbeddedRedis(testSearch());
}
