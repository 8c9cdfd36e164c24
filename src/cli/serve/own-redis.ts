import { LabelmillError } from "../../errors.ts";
import { openRedis, type RedisAddress } from "../../redis/connect.ts";
import { startEmbeddedRedis } from "../../redis/embedded/embedded.ts";
import type { CommandContext } from "../context.ts";
import type { Places } from "./places.ts";

/**
 * The Redis server of a command: that of REDIS_URL, or one that keeps its data in the state folder.
 * @param lost aborts if the new one ends before it is closed
 * @throws LabelmillError REDIS_UNREACHABLE, REDIS_UNFIT, REDIS_MISSING
 */
export async function redisOf(
  { config, environment, terminal }: CommandContext,
  { redisFolder }: Places,
  open: AsyncDisposableStack,
  lost: AbortController,
): Promise<RedisAddress> {
  if (config.redisUrl) {
    const address = { url: config.redisUrl };
    // A worker would wait for it forever.
    (await openRedis(address, "producer")).disconnect();
    return address;
  }
  const say = (line: string) => terminal.say(line);
  // With `--accept redis` Redis alone keeps what was accepted.
  const data = { folder: redisFolder, fsync: config.accept === "redis" ? "always" : "everysec" } as const;
  const server = await startEmbeddedRedis({ cacheDir: config.cacheDir, path: environment.path, say, data });
  let closing = false;
  open.defer(async () => {
    closing = true;
    await server.close();
  });
  void server.ended.then((reason) => {
    if (!closing)
      lost.abort(
        new LabelmillError(
          "REDIS_UNREACHABLE",
          `the Redis server of this command ended (${reason}): start the command again, which continues the accepted work`,
        ),
      );
  });
  return server.address;
}
