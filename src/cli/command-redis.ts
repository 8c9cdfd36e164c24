import type { Config } from "../config.ts";
import { LabelmillError } from "../errors.ts";
import { openRedis, type RedisAddress } from "../redis/connect.ts";
import { startEmbeddedRedis } from "../redis/embedded/embedded.ts";
import type { ServerData } from "../redis/embedded/launch.ts";

export type CommandRedis = {
  config: Pick<Config, "redisUrl" | "cacheDir">;
  environment: { path: string };
  say: (line: string) => void;
  /** Where a server that is started keeps its data. Default: in memory. */
  data?: ServerData;
  /** What the user does if the started server ends: the end of the error message. */
  fix: string;
};

/**
 * The Redis server of a command: that of REDIS_URL, or one that it starts.
 * @param open closes the started server
 * @param lost aborts if the started server ends before it is closed
 * @throws LabelmillError REDIS_UNREACHABLE, REDIS_UNFIT, REDIS_MISSING, STATE_LOCKED
 */
export async function openCommandRedis(
  { config, environment, say, data, fix }: CommandRedis,
  open: AsyncDisposableStack,
  lost: AbortController,
): Promise<RedisAddress> {
  if (config.redisUrl) {
    const address = { url: config.redisUrl };
    // A worker would wait for it forever.
    (await openRedis(address, "producer")).disconnect();
    return address;
  }
  const server = await startEmbeddedRedis({
    ...{ cacheDir: config.cacheDir, path: environment.path, say },
    ...(data ? { data } : {}),
  });
  let closing = false;
  open.defer(async () => {
    closing = true;
    await server.close();
  });
  void server.ended.then((reason) => {
    if (!closing)
      lost.abort(new LabelmillError("REDIS_UNREACHABLE", `the Redis server of this command ended (${reason}): ${fix}`));
  });
  return server.address;
}
