import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import { type NotReady, openHealth } from "../../../src/health/health.ts";

const HOST = "127.0.0.1";

test("live answers 200 while the process runs, ready 503 with the reason until it can work", async () => {
  let state: true | NotReady = "starting";
  const health = await openHealth({ host: HOST, port: 0, ready: () => state });
  const ask = async (path: string, method = "GET") => {
    const response = await fetch(`http://${HOST}:${health.port}${path}`, { method });
    return [response.status, await response.text()];
  };
  assert.deepEqual(await ask("/health/live"), [200, '{"status":"live"}']);
  assert.deepEqual(await ask("/health/ready"), [503, '{"status":"starting"}']);
  state = true;
  assert.deepEqual(await ask("/health/ready?verbose"), [200, '{"status":"ready"}']);
  assert.deepEqual(await ask("/health/ready", "HEAD"), [200, ""]);
  state = "no connection to Redis";
  assert.deepEqual(await ask("/health/ready"), [503, '{"status":"no connection to Redis"}']);
  assert.deepEqual(await ask("/health/live"), [200, '{"status":"live"}']);
  assert.deepEqual(await ask("/v1/models"), [404, '{"status":"unknown path"}']);
  assert.deepEqual(await ask("/health/ready", "POST"), [405, '{"status":"unknown method"}']);
  await health.close();
});

test("closing the port ends connections that a slow client keeps open", async () => {
  const health = await openHealth({ host: HOST, port: 0, ready: () => true });
  const { promise: closed, resolve } = Promise.withResolvers<void>();
  const slow = connect(health.port, HOST)
    .on("error", () => {})
    .on("close", () => resolve());
  await once(slow, "connect");
  slow.write("GET /health/li");
  await health.close();
  await closed;
});

test("a port in use is an error that names the setting", async () => {
  const first = await openHealth({ host: HOST, port: 0, ready: () => true });
  const second = openHealth({ host: HOST, port: first.port, ready: () => true });
  await assert.rejects(second, { code: "CONFIG_INVALID", message: /EADDRINUSE.*set --health-port/ });
  await first.close();
});
