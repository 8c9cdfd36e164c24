import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { CONNECTION_LIMITS, MAX_CONNECTIONS } from "../../../src/server/limits/connection-limits.ts";
import { TestApi } from "../../helpers/servers/api.ts";

async function open(url: string): Promise<Socket> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** What the server sends until it closes the connection. */
async function answerTo(url: string, text: string): Promise<string> {
  const socket = await open(url);
  let answer = "";
  socket.setEncoding("utf8").on("data", (piece) => {
    answer += piece;
  });
  socket.write(text);
  await once(socket, "close");
  return answer;
}

function codeOf(answer: string): [status: number, code: string] {
  const body = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4));
  assert.equal(body.status, Number(answer.split(" ")[1]));
  assert.match(answer, /^content-type: application\/problem\+json/im);
  return [body.status, body.code];
}

test("what is not HTTP, and headers that are too large, get a problem document and the end of the connection", async () => {
  await using api = await TestApi.open({ worker: false });
  assert.deepEqual(codeOf(await answerTo(api.url, "what is this?\r\n\r\n")), [400, "REQUEST_INVALID"]);
  const large = `GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Large: ${"a".repeat(20_000)}\r\n\r\n`;
  assert.deepEqual(codeOf(await answerTo(api.url, large)), [431, "REQUEST_INVALID"]);
});

test("a client that sends its headers slowly is answered with 408 and closed, and others are served meanwhile", async () => {
  await using api = await TestApi.open({ worker: false });
  const { server } = api;
  // The times of the server, shortened: the check runs each second.
  assert.equal(server.headersTimeout, CONNECTION_LIMITS.http.headersTimeout);
  assert.equal(server.requestTimeout, CONNECTION_LIMITS.requestTimeout);
  assert.equal(server.timeout, CONNECTION_LIMITS.connectionTimeout);
  assert.equal(server.maxConnections, MAX_CONNECTIONS);
  server.headersTimeout = 500;
  server.requestTimeout = 1_000;
  const headers = answerTo(api.url, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
  const body = answerTo(
    api.url,
    "POST /v1/label/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
  );
  assert.equal((await api.fetch("/v1/models")).status, 200);
  assert.deepEqual(codeOf(await headers), [408, "REQUEST_INVALID"]);
  assert.deepEqual(codeOf(await body), [408, "REQUEST_INVALID"]);
});

test("connections above the limit are closed at once", async () => {
  await using api = await TestApi.open({ worker: false });
  api.server.maxConnections = 2;
  const first = [await open(api.url), await open(api.url)];
  const third = await open(api.url);
  await once(third, "close");
  for (const socket of first) socket.destroy();
  assert.equal((await api.fetch("/v1/models").catch(() => api.fetch("/v1/models"))).status, 200);
});

test("the memory for large bodies is bounded: the ninth upload at a time gets 429", async () => {
  await using api = await TestApi.open({ worker: false, settings: { bodyLimit: 25_000_000 } });
  const head = `POST /v1/label/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 25000000\r\n\r\n`;
  const uploads = await Promise.all(Array.from({ length: 8 }, () => open(api.url)));
  for (const socket of uploads) socket.write(`${head}{`);
  const large = JSON.stringify({ items: ["a".repeat(100_000)] });
  const send = () =>
    api.fetch("/v1/label/text", { method: "POST", headers: { "content-type": "application/json" }, body: large });
  // The server may not have read the heads yet.
  let refused = await send();
  while (refused.status !== 429) refused = await send();
  assert.equal(((await refused.json()) as { code: string }).code, "BACKLOG_FULL");
  assert.equal(refused.headers.get("retry-after"), "1");
  for (const socket of uploads) socket.destroy();
  let accepted = await send();
  while (accepted.status === 429) accepted = await send();
  assert.notEqual(accepted.status, 429);
});
