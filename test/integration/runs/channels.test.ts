import assert from "node:assert/strict";
import { test } from "node:test";
import type { Redis } from "ioredis";
import { openRedis } from "../../../src/redis/connect.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

/** How often the server ran a command. */
async function callsOf(redis: Redis, command: string): Promise<number> {
  return Number(new RegExp(`^cmdstat_${command}:calls=(\\d+)`, "m").exec(await redis.info("commandstats"))?.[1] ?? 0);
}

/** Publishes a message, and one on a channel of this test, after which the first one has arrived. */
async function publish(redis: Redis, channels: Channels, channel: string): Promise<void> {
  const arrived = Promise.withResolvers<void>();
  const stop = await channels.listen("after", () => arrived.resolve());
  await redis.publish(channel, "message");
  await redis.publish("after", "");
  await arrived.promise;
  stop();
}

test("channels of one turn of the event loop share a command", async () => {
  await using server = await TcpRedis.start();
  const [redis, subscriber] = await Promise.all(
    ["commands", "messages"].map(() => openRedis({ url: server.url }, "producer")),
  );
  const channels = new Channels(subscriber!);
  const received: string[] = [];
  const names = Array.from({ length: 50 }, (_, at) => `run-${at}`);
  const stops = await Promise.all(names.map((name) => channels.listen(name, () => received.push(name))));
  assert.equal(await callsOf(redis!, "subscribe"), 1);
  for (const name of names) await publish(redis!, channels, name);
  assert.deepEqual(received, names);

  const before = await callsOf(redis!, "unsubscribe");
  for (const stop of stops) stop();
  await publish(redis!, channels, names[0]!);
  assert.deepEqual(received, names);
  assert.ok((await callsOf(redis!, "unsubscribe")) <= before + 2);

  // A channel that is left and joined in the same turn keeps its messages.
  const first = await channels.listen("run-0", () => received.push("old"));
  first();
  const again = await channels.listen("run-0", () => received.push("new"));
  // A second call does nothing.
  first();
  await publish(redis!, channels, "run-0");
  assert.equal(received.at(-1), "new");
  again();
  redis!.disconnect();
  subscriber!.disconnect();
});
