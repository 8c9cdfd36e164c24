import { LabelmillError, messageOf } from "../../errors.ts";
import { findOnPath, probeServer, type ServerBinary } from "./binary.ts";
import { findContainer, type ServerContainer } from "./container.ts";
import { findDebianServer, type SearchOptions } from "./debian.ts";

/** A server that can be started. */
export type RedisServer = ServerBinary | ServerContainer;

/**
 * Finds the first server that works: `valkey-server` or `redis-server` in the folders of `options.path`; a container if
 * Docker runs; on Debian, Ubuntu and their derivatives, the package of the distribution in `options.cacheDir`.
 * @throws LabelmillError REDIS_MISSING, with the reason and the fix for each of them
 */
export async function findRedisServer(options: SearchOptions): Promise<RedisServer> {
  const { path, say } = options;
  const reasons: string[] = [];
  const finders: (() => Promise<RedisServer>)[] = [
    () => findBinary(path),
    () => findContainer(path, say),
    () => findDebianServer(options),
  ];
  for (const find of finders) {
    try {
      return await find();
    } catch (error) {
      reasons.push(messageOf(error));
    }
  }
  const [onPath, docker, debian] = reasons;
  throw new LabelmillError(
    "REDIS_MISSING",
    `Expected a Redis server; found none in four places:
  REDIS_URL: not set. Set it to a running server, e.g. redis://127.0.0.1:6379
  PATH: ${onPath}. Install Valkey or Redis, e.g. brew install valkey
  Docker: ${docker}. Start Docker
  Debian or Ubuntu package: ${debian}. On these systems: apt-get install redis-server`,
  );
}

async function findBinary(path: string): Promise<ServerBinary> {
  const files = [...(await findOnPath("valkey-server", path)), ...(await findOnPath("redis-server", path))];
  const unfit: string[] = [];
  for (const file of files) {
    try {
      return await probeServer([file]);
    } catch (error) {
      unfit.push(messageOf(error));
    }
  }
  throw new Error(unfit.join("; ") || "no valkey-server and no redis-server");
}
