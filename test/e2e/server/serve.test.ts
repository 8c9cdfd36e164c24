import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { freePort } from "../../../src/redis/embedded/launch.ts";
import { type RunningCommand, Workspace } from "../../helpers/cli.ts";

const SERVE = ["serve", "--with-worker", "--models", "tiny-sentiment"];

/** The URL that a server prints. */
async function urlOf(command: RunningCommand): Promise<string> {
  await command.says("Try:");
  return /^Listening on (\S+)$/m.exec(command.stderr)![1]!;
}

test("serve starts Redis, a worker and the API in one process, and ends all of them at a signal", async () => {
  await using work = await Workspace.open();
  const health = await freePort();
  const command = work.start([...SERVE, "--port", "0", "--health-port", String(health)]);
  const url = await urlOf(command);
  assert.match(command.stderr, /^Models: {2}tiny-sentiment@[0-9a-f]{8}$/m);
  assert.match(command.stderr, /^Results: labelmill-data\/output$/m);
  assert.match(command.stderr, /^State: {3}labelmill-data\/state \(no key is on record: .*\)$/m);
  assert.match(command.stderr, /^Try: {5}curl http:\/\/127\.0\.0\.1:\d+\/models\/tiny-sentiment /m);
  const { models } = (await (await fetch(`${url}/v1/models`)).json()) as {
    models: { name: string; workers: number }[];
  };
  assert.deepEqual(
    models.map(({ name, workers }) => [name, workers]),
    [["tiny-sentiment", 1]],
  );
  assert.equal((await fetch(`http://127.0.0.1:${health}/health/ready`)).status, 200);
  command.child.kill("SIGTERM");
  const ended = await command.ended;
  assert.equal(ended.code, 0, ended.stderr);
  assert.match(ended.stderr, /SIGTERM: answering the waiting requests for at most 10 s \(again to stop at once\)/);
  assert.equal(ended.stdout, "");
  await work.redisClosed();
  await assert.rejects(fetch(url));
});

test("a connection that is open and idle does not delay the end", async () => {
  await using work = await Workspace.open();
  const command = work.start([...SERVE, "--port", "0", "--grace-ms", "600000"]);
  const url = await urlOf(command);
  // fetch keeps its connection open.
  await (await fetch(`${url}/v1/workers`)).arrayBuffer();
  command.child.kill("SIGINT");
  assert.equal((await command.ended).code, 0);
});

/** A connection whose request never arrives completely. */
async function openHalf(url: string): Promise<Socket> {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  await once(socket, "connect");
  socket.write(
    "POST /v1/label/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
  );
  // The server has read it when it answers the next one.
  await (await fetch(`${url}/v1/workers`)).arrayBuffer();
  return socket;
}

test("a request that never arrives is closed within the grace time, and a second signal ends the process before", async () => {
  await using work = await Workspace.open();
  const short = work.start([...SERVE, "--port", "0", "--grace-ms", "500"]);
  const socket = await openHalf(await urlOf(short));
  const closed = once(socket, "close");
  short.child.kill("SIGTERM");
  await closed;
  assert.equal((await short.ended).code, 0);

  const long = work.start([...SERVE, "--port", "0", "--grace-ms", "600000"]);
  await openHalf(await urlOf(long));
  const repeated = setInterval(() => long.child.kill("SIGTERM"), 300);
  const { signal } = await long.ended;
  clearInterval(repeated);
  assert.equal(signal, "SIGTERM");
});

test("what prevents the start is an error with a code, and nothing keeps running", async () => {
  await using work = await Workspace.open();
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  using _taken = { [Symbol.dispose]: () => taken.close() };
  const port = String((taken.address() as AddressInfo).port);
  await work.write("file", "not a folder");
  const cases: [args: string[], env: Record<string, string>, code: number, message: RegExp][] = [
    [
      ["--port", port],
      {},
      2,
      /CONFIG_INVALID: expected to listen on 127\.0\.0\.1:\d+, got .*EADDRINUSE.*: another process/,
    ],
    [["--health-port", port], {}, 2, /CONFIG_INVALID: expected to open the health port .*EADDRINUSE/],
    [["--port", "0", "--state", "file/state"], {}, 1, /STORE_FAILED: .*file/],
    [["--port", "0", "--out", "file"], {}, 1, /STORE_FAILED: .*file/],
    [["--port", "0", "--host", "192.0.2.1"], {}, 2, /CONFIG_INVALID: .*EADDRNOTAVAIL.*set --host/],
    [["--port", "0", "--models", "no-such-model"], {}, 2, /MODEL_NOT_FOUND: .*no-such-model/],
    [["--out", "out", "--state", "state"], { REDIS_URL: "redis://127.0.0.1:1" }, 1, /REDIS_UNREACHABLE: .*refused/],
  ];
  for (const [args, env, code, message] of cases) {
    const command = args.includes("--models") ? ["serve", "--with-worker"] : SERVE;
    const ended = await work.expect(code, [...command, ...args], { env });
    assert.match(ended.stderr, message);
    assert.ok(!ended.stderr.includes("    at "), ended.stderr);
  }
});
