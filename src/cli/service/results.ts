import { openRedis } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { Channels } from "../../runs/channels.ts";
import { droppedEvents, waitingEvents } from "../../runs/queues/outbox.ts";
import { type LabelEvent, parseEvent } from "../../schemas/event.ts";
import { FEED_CHANNEL } from "../../schemas/names.ts";
import type { LabelWorld } from "../context.ts";
import { lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { sayOutages } from "./outage-lines.ts";

/** `labelmill results`: what waits on the results queue, and with `follow` what comes. Nothing is taken from whoever consumes it. */
export async function results(
  follow: boolean,
  { config, terminal, interrupts, log }: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  const address = lastingRedis(config);
  await using open = new AsyncDisposableStack();
  // What comes while the waiting ones are listed is kept, so that nothing falls between.
  const come: LabelEvent[] = [];
  let tell = (event: LabelEvent): void => void come.push(event);
  if (follow) {
    interrupts?.handle({
      tell: () => "no longer listening: runs go on in the workers, and events wait for whoever consumes them",
    });
    const subscriber = await openRedis(address, "worker");
    open.defer(() => subscriber.disconnect());
    sayOutages(subscriber, address, terminal, "trying again. Events of the meantime are not shown here");
    await new Channels(subscriber).listen(FEED_CHANNEL, (text) => {
      const event = parseEvent(text);
      if (event) tell(event);
    });
  }
  const told = await withRedis(address, (redis) => showWaiting(redis, terminal));
  if (!follow) return EXIT.labeled;
  for (const event of come) if (!told.has(event.id)) show(event, terminal);
  tell = (event) => show(event, terminal);
  log.debug("listening");
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  return EXIT.interrupted;
}

/** @returns the ids of the events that are shown */
async function showWaiting(redis: Parameters<typeof waitingEvents>[0], terminal: Terminal): Promise<Set<string>> {
  const told = new Set<string>();
  for await (const event of waitingEvents(redis)) {
    told.add(event.id);
    show(event, terminal);
  }
  const dropped = await droppedEvents(redis);
  if (dropped > 0) terminal.say(`${dropped} events were dropped unread: their parts are in the store all the same`);
  return told;
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
