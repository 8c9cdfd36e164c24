import { LabelmillError, messageOf } from "../../errors.ts";
import { findOnPath, probeServer, type ServerBinary } from "./binary.ts";
import { findContainer, type ServerContainer } from "./container.ts";
import { findDebianServer, type SearchOptions } from "./debian.ts";

/** A server that can be started. */
export type RedisServer = ServerBinary | ServerContainer;

/**
 * The first of these that works: `valkey-server`, then `redis-server`, in the folders of `options.path`; a container where
 * Docker answers; on Debian, Ubuntu and their children the distribution's package in `options.cacheDir`. Throws
 * REDIS_MISSING, which names each way, why it is closed and what opens it.
 */
export async function findRedisServer(options: SearchOptions): Promise<RedisServer> {
  const { path, say } = options;
  const closed: string[] = [];
  const ways: (() => Promise<RedisServer>)[] = [
    () => findBinary(path),
    () => findContainer(path, say),
    () => findDebianServer(options),
  ];
  for (const way of ways) {
    try {
      return await way();
    } catch (error) {
      closed.push(messageOf(error));
    }
  }
  const [onPath, docker, debian] = closed;
  throw new LabelmillError(
    "REDIS_MISSING",
    `Expected a Redis server; found none in four ways:
  REDIS_URL: not set. Set it to a server that runs, e.g. redis://127.0.0.1:6379
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
