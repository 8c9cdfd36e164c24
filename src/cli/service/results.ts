import { openRedis } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { Channels } from "../../runs/channels.ts";
import { droppedEvents, waitingEvents } from "../../runs/queues/results-queue.ts";
import { type LabelEvent, parseEvent } from "../../schemas/event.ts";
import { FEED_CHANNEL } from "../../schemas/names.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { sayOutages } from "../terminal/redis-outages.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** `labelmill results`: shows the events on the results queue and, with `follow`, each new event. Consumers still get every event. */
export async function results(
  follow: boolean,
  { config, terminal, interrupts, log }: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  const address = lastingRedis(config);
  await using open = new AsyncDisposableStack();
  // Events that arrive while the waiting events are listed are shown afterwards, so that none is missed.
  const arrived: LabelEvent[] = [];
  let receive = (event: LabelEvent): void => void arrived.push(event);
  if (follow) {
    interrupts?.handle({
      describe: () => "no longer listening: runs continue in the workers, and events wait for their consumers",
    });
    const subscriber = await openRedis(address, "worker");
    open.defer(() => subscriber.disconnect());
    sayOutages(subscriber, address, terminal, "trying again. Events during the outage are not shown here");
    await new Channels(subscriber).listen(FEED_CHANNEL, (text) => {
      const event = parseEvent(text);
      if (event) receive(event);
    });
  }
  const shown = await withRedis(address, (redis) => showWaiting(redis, terminal));
  if (!follow) return EXIT.ok;
  for (const event of arrived) if (!shown.has(event.id)) show(event, terminal);
  receive = (event) => show(event, terminal);
  log.debug("listening");
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  return EXIT.interrupted;
}

/** @returns the ids of the shown events */
async function showWaiting(redis: Parameters<typeof waitingEvents>[0], terminal: Terminal): Promise<Set<string>> {
  const shown = new Set<string>();
  for await (const event of waitingEvents(redis)) {
    shown.add(event.id);
    show(event, terminal);
  }
  const dropped = await droppedEvents(redis);
  if (dropped > 0) terminal.say(`${dropped} events were dropped unread; their parts are in the store`);
  return shown;
}

function show(event: LabelEvent, terminal: Terminal): void {
  if (terminal.json) terminal.printJson(event);
  else terminal.print(describe(event, terminal));
}

function describe({ id, model, rows, errors, labels, output, part, failed }: LabelEvent, terminal: Terminal): string {
  if (failed) return `${id}  ${model.id}  ${terminal.style("red", `${failed.code}: ${failed.message}`)}`;
  const counts = Object.entries(labels).map(([label, count]) => `${label} ${count}`);
  return `${id}  ${model.id}  ${rows} rows${errors > 0 ? `, ${errors} in error` : ""}  ${counts.join("  ")}  ${output}${part}`;
}
