import { homedir } from "node:os";
import path from "node:path";
import type { SearchOptions } from "../../../src/redis/embedded/debian.ts";
import { type EmbeddedRedis, startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";

/** The user's cache folder, so that the tests download a server at most once. */
export function testCacheDir(): string {
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), ".cache"), "labelmill");
}

/** Where the tests search a server: in the same places as the command. */
export function testSearch(): SearchOptions {
  return { cacheDir: testCacheDir(), path: process.env.PATH ?? "", say: (line) => process.stderr.write(`${line}\n`) };
}

/** An empty server for one test. Close it, or use `await using`. */
export function startTestRedis(): Promise<EmbeddedRedis> {
  return startEmbeddedRedis(testSearch());
}
