import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { queueName } from "../../../src/schemas/names.ts";
import { EventStream, type StreamTimes } from "../../../src/server/runs/event-stream.ts";
import { TestApi } from "../../helpers/servers/api.ts";

/** A server whose only route is an event stream, and one open connection to it that nothing reads. */
async function openStream(times: StreamTimes) {
  const opened = Promise.withResolvers<{ stream: EventStream; response: ServerResponse }>();
  const server = createServer((_request, response) => {
    opened.resolve({ stream: new EventStream(response, {}, times), response });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => {});
  socket.pause();
  socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  return {
    ...(await opened.promise),
    socket,
    async [Symbol.asyncDispose]() {
      socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const eventOf = (number: number) => ({ id: String(number), event: "progress", data: "x".repeat(100_000) });

test("a reader that does not read is dropped, and what waits for it is bounded", async () => {
  await using opened = await openStream({ unreadMs: 3_000, heartbeatMs: 60_000 });
  const { stream, response } = opened;
  const closed = once(stream.closed, "abort");
  // More than the buffers of the sockets take.
  for (let number = 0; number < 500; number++) {
    stream.send(eventOf(number));
    await new Promise(setImmediate);
  }
  assert.ok(response.writableNeedDrain, "the reader reads nothing");
  assert.ok(response.writableLength < 300_000, `${response.writableLength} bytes wait`);
  await closed;
  assert.ok(response.destroyed);
});

test("a slow reader gets fewer events, and the last one", async () => {
  await using opened = await openStream({ unreadMs: 60_000, heartbeatMs: 60_000 });
  const { stream, response, socket } = opened;
  for (let number = 0; number < 500; number++) {
    stream.send(eventOf(number));
    await new Promise(setImmediate);
  }
  assert.ok(response.writableNeedDrain);
  stream.end({ id: "last", event: "end", data: {} });
  let text = "";
  socket.setEncoding("utf8").resume();
  while (!text.includes("event: end")) text += (await once(socket, "data"))[0];
  const ids = [...text.matchAll(/^id: (\S+)$/gm)].map(([, id]) => id);
  assert.equal(ids.at(-1), "last");
  assert.ok(ids.length < 500, `${ids.length} events`);
});

test("an idle stream gets comments", async () => {
  await using opened = await openStream({ unreadMs: 60_000, heartbeatMs: 20 });
  let text = "";
  opened.socket.setEncoding("utf8").resume();
  while (!text.includes(": still here")) text += (await once(opened.socket, "data"))[0];
});

test("streams get a last event when the server stops, and waiting requests are answered", async () => {
  const api = await TestApi.open({ worker: false });
  const { url } = (await (await api.post("/v1/label/text", { items: ["a"] })).json()) as { url: string };
  const events = await api.fetch(`${url}/events`);
  const waiting = api.post("/v1/label/text", { items: ["b"] }, { prefer: "wait=60" });
  const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("event: progress")) text += (await reader.read()).value;
  const queue = openQueue(api.deps.redis, queueName(api.deps.models.default().pin, "interactive"));
  while ((await queue.getJobCountByTypes("waiting", "prioritized")) < 2);
  await queue.close();
  const closing = api[Symbol.asyncDispose]();
  for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
  assert.match(text, /event: stopping\ndata: \{"run":"[0-9a-f]{16}"\}\n\n$/);
  assert.equal((await waiting).status, 202);
  await closing;
});
