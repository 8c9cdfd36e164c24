import { LabelmillError } from "../../errors.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { KeptDeliveries } from "../../webhooks/kept-deliveries.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";

/**
 * `labelmill webhooks retry [ID…|--all]`
 * @returns the exit code: 1 if an id is not that of a dead letter
 * @throws LabelmillError USAGE
 */
export async function retryDeadLetters(
  ids: readonly string[],
  all: boolean,
  { config, terminal }: CommandContext,
): Promise<number> {
  if (all === ids.length > 0)
    throw new LabelmillError("USAGE", "expected ids of dead letters, or --all: labelmill webhooks list shows the ids");
  const retried: string[] = [];
  const unknown: string[] = [];
  await withRedis(lastingRedis(config), async (redis) => {
    const kept = new KeptDeliveries(redis);
    try {
      for (const id of all ? await Array.fromAsync(kept.dead(), (letter) => letter.id) : ids)
        ((await kept.retry(id)) ? retried : unknown).push(id);
    } finally {
      await kept.close();
    }
  });
  if (terminal.json) terminal.printJson({ retried, unknown });
  else {
    for (const id of unknown) terminal.say(`${id} is not a dead letter`);
    terminal.print(`${retried.length} deliveries are in the queue again`);
  }
  return unknown.length === 0 ? EXIT.ok : EXIT.failed;
}
