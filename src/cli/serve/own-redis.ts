import type { RedisAddress } from "../../redis/connect.ts";
import { openCommandRedis } from "../command-redis.ts";
import type { CommandContext } from "../context.ts";
import type { Places } from "./places.ts";

/**
 * The Redis server of `serve`: that of REDIS_URL, or one that keeps its data in the state folder.
 * @param lost aborts if the new one ends before it is closed
 * @throws LabelmillError as `openCommandRedis`
 */
export async function redisOf(
  { config, environment, terminal }: CommandContext,
  { redisFolder }: Places,
  open: AsyncDisposableStack,
  lost: AbortController,
): Promise<RedisAddress> {
  const say = (line: string) => terminal.say(line);
  // With `--accept redis` Redis alone keeps what was accepted.
  const data = { folder: redisFolder, fsync: config.accept === "redis" ? "always" : "everysec" } as const;
  const fix = "start the command again, which continues the accepted work";
  return openCommandRedis({ config, environment, say, data, fix }, open, lost);
}
