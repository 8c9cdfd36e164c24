import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createServer as createTlsServer } from "node:tls";
import { promisify } from "node:util";
import type { Redis } from "ioredis";
import type { LabelmillError } from "../../../src/errors.ts";
import { connectRedis, openRedis, type RedisAddress, type RedisRole } from "../../../src/redis/connect.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";

test("a password can be wrong, missing or right", async (context) => {
  await using server = await startTestRedis();
  await using proxy = await openProxy(server.address);
  const admin = await open(context, server.address, "worker");
  await admin.config("SET", "requirepass", "p@ss/w%rd");
  await admin.acl("SETUSER", "ann", "on", ">ann's", "~*", "&*", "+@all");

  const wrong = await failure({ url: `redis://:SECRET@127.0.0.1:${proxy.port}` });
  assert.equal(wrong.code, "REDIS_UNREACHABLE");
  assert.match(
    wrong.message,
    new RegExp(`^Redis at redis://:\\*\\*\\*@127.0.0.1:${proxy.port} .*wrong user or password`),
  );
  const wrongUser = await failure({ url: `redis://bob:SECRET@127.0.0.1:${proxy.port}` });
  assert.match(wrongUser.message, /redis:\/\/bob:\*\*\*@.*wrong user or password/);
  const missing = await failure({ url: `redis://127.0.0.1:${proxy.port}` });
  assert.match(missing.message, /requires a password.*redis:\/\/user:password@/);
  for (const login of [":p%40ss%2Fw%25rd", "ann:ann's"]) {
    const redis = await open(context, { url: `redis://${login}@127.0.0.1:${proxy.port}/3` }, "producer");
    assert.equal(await redis.ping(), "PONG");
  }
});

test("a missing server is reported for a port, a socket and a host name", async () => {
  const proxy = await openProxy({ socket: "/nowhere" });
  await proxy.close();
  const refused = await failure({ url: `redis://:SECRET@127.0.0.1:${proxy.port}/1` });
  assert.match(
    refused.message,
    new RegExp(`^Redis at redis://:\\*\\*\\*@127.0.0.1:${proxy.port}/1 .*connection refused`),
  );
  const both = await failure({ url: `redis://localhost:${proxy.port}` });
  assert.match(both.message, /connection refused/);
  const socket = await failure({ socket: path.join(tmpdir(), "labelmill-no-such.sock") });
  assert.match(socket.message, /unix:.*labelmill-no-such\.sock .*socket does not exist.*start the server/);
  const name = await failure({ url: "redis://:SECRET@labelmill.invalid" });
  assert.match(name.message, /labelmill\.invalid .*name (was not found|could not be looked up)/);
});

test("a server that evicts keys is refused with the command that fixes it", async (context) => {
  await using server = await startTestRedis();
  const redis = await open(context, server.address, "worker");
  await redis.config("SET", "maxmemory-policy", "allkeys-lru");
  const unfit = await failure(server.address);
  assert.equal(unfit.code, "REDIS_UNFIT");
  assert.match(unfit.message, /noeviction at .*got allkeys-lru.*redis-cli CONFIG SET maxmemory-policy noeviction/);
  await redis.config("SET", "maxmemory-policy", "noeviction");
  await open(context, server.address, "producer");
});

test("a server that forbids CONFIG is accepted; if it forbids INFO, CONFIG is used", async (context) => {
  await using server = await startTestRedis();
  await using proxy = await openProxy(server.address);
  const admin = await open(context, server.address, "worker");
  const rights = { plain: ["-config"], hidden: ["-info"], mute: ["-config", "-info"] };
  for (const [user, denied] of Object.entries(rights)) {
    await admin.acl("SETUSER", user, "on", ">pw", "~*", "&*", "+@all", ...denied);
  }
  const address = (user: string) => ({ url: `redis://${user}:pw@127.0.0.1:${proxy.port}` });
  for (const user of Object.keys(rights)) await open(context, address(user), "worker");
  await admin.config("SET", "maxmemory-policy", "volatile-ttl");
  for (const user of ["plain", "hidden"]) assert.equal((await failure(address(user))).code, "REDIS_UNFIT", user);
  await open(context, address("mute"), "worker");
});

test("a server that is too old is refused with its version", async () => {
  const info = "# Server\r\nredis_version:5.0.14\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n";
  await using proxy = await listen((socket) => {
    // One reply per command. A command is INFO if an argument is INFO.
    socket.on("data", (data) => {
      for (const command of data.toString().split(/^\*/m).slice(1)) {
        const isInfo = /\r\ninfo\r\n/i.test(command);
        socket.write(isInfo ? `$${info.length}\r\n${info}\r\n` : `-ERR unknown command \`HELLO\`, with args\r\n`);
      }
    });
  });
  const old = await failure({ url: `redis://127.0.0.1:${proxy.port}` });
  assert.equal(old.code, "REDIS_UNFIT");
  assert.match(old.message, /6\.2 or newer.*127\.0\.0\.1.*got version 5\.0\.14\. Start a newer server.*docker run/);
});

test("a server that hangs up, is silent or has another protocol is not taken for Redis", async () => {
  const url = (proxy: Proxy) => ({ url: `redis://:SECRET@127.0.0.1:${proxy.port}` });
  await using web = await listen((socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
  assert.match((await failure(url(web))).message, /does not use the Redis protocol/);
  const tls = await failure({ url: `rediss://127.0.0.1:${web.port}` });
  assert.match(tls.message, /does not support TLS.*use redis:\/\//);
  await using rude = await listen((socket) => socket.once("data", () => socket.end()));
  assert.match((await failure(url(rude))).message, /does not use the Redis protocol/);
  await using silent = await listen(() => {});
  const started = performance.now();
  assert.match((await failure(url(silent))).message, /no reply in time/);
  assert.ok(performance.now() - started < 6_000);
});

test("rediss:// uses TLS and refuses an unknown authority", async (context) => {
  await using server = await startTestRedis();
  const folder = await mkdtemp(path.join(tmpdir(), "labelmill-test-"));
  context.after(() => rm(folder, { recursive: true }));
  const [keyFile, certFile] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"];
  try {
    await promisify(execFile)("openssl", [...request, "-keyout", keyFile, "-out", certFile]);
  } catch {
    return context.skip("openssl, which creates the certificate, is not installed");
  }
  const [key, cert] = await Promise.all([readFile(keyFile), readFile(certFile)]);
  await using proxy = await serve(createTlsServer({ key, cert }), "secureConnection", forwardTo(server.address));
  const unknown = await failure({ url: `rediss://:SECRET@localhost:${proxy.port}` });
  assert.match(unknown.message, /rediss:\/\/:\*\*\*@localhost.*self-signed.*NODE_EXTRA_CA_CERTS/);
  const plain = await failure({ url: `redis://localhost:${proxy.port}` });
  assert.match(plain.message, /rediss:\/\//);
});

test("while the connection is lost, a command of a producer fails immediately and one of a worker waits", async (context) => {
  await using server = await startTestRedis();
  const proxy = await openProxy(server.address);
  const login = "url" in server.address ? `:${new URL(server.address.url).password}@` : ""; // The server of a container has a password.
  const address = { url: `redis://${login}127.0.0.1:${proxy.port}` };
  const [producer, worker] = await Promise.all([open(context, address, "producer"), open(context, address, "worker")]);
  await Promise.all([once(producer, "close"), once(worker, "close"), proxy.close()]);
  const failed = producer.ping().then(assert.fail, () => "failed");
  assert.equal(await Promise.race([failed, nextTurn("still waits")]), "failed");
  const waits = worker.ping();
  await using _again = await openProxy(server.address, proxy.port);
  assert.equal(await waits, "PONG");
  if (producer.status !== "ready") await once(producer, "ready");
  assert.equal(await producer.ping(), "PONG");
});

test("a sent command of a producer fails if the address only drops connections", async (context) => {
  await using server = await startTestRedis();
  const proxy = await openProxy(server.address);
  const login = "url" in server.address ? `:${new URL(server.address.url).password}@` : "";
  const producer = await open(context, { url: `redis://${login}127.0.0.1:${proxy.port}` }, "producer");
  const sent = producer.blpop("nothing", 0).then(
    () => "answered",
    (error: Error) => error.message,
  );
  const lost = new Promise((done) => producer.once("close", done));
  await Promise.all([lost, proxy.close()]);
  // Like a load balancer while its server is down.
  await using _dropping = await serve(createServer(), "connection", (socket) => socket.destroy(), proxy.port);
  assert.equal(await sent, "Connection is closed.");
});

test("the client of a worker connects at its first command", async (context) => {
  await using server = await startTestRedis();
  const redis = connectRedis(server.address, "worker");
  context.after(() => redis.disconnect());
  assert.equal(redis.status, "wait");
  assert.equal(await redis.ping(), "PONG");
});

/** An open connection that ends with the test. */
async function open(context: TestContext, address: RedisAddress, role: RedisRole): Promise<Redis> {
  const redis = await openRedis(address, role);
  context.after(() => redis.disconnect());
  return redis;
}

/** The error of opening this address. Checks that it is one line without the password. */
async function failure(address: RedisAddress): Promise<LabelmillError> {
  const error = await openRedis(address, "worker").then(
    (redis) => {
      redis.disconnect();
      assert.fail("it opened");
    },
    (error) => error,
  );
  assert.doesNotMatch(error.message, /SECRET|\n/);
  return error;
}

type Proxy = { port: number; close(): Promise<void>; [Symbol.asyncDispose](): Promise<void> };

/** A TCP port of 127.0.0.1 that forwards to the real server. */
function openProxy(address: RedisAddress, port = 0): Promise<Proxy> {
  return serve(createServer(), "connection", forwardTo(address), port);
}

function listen(answer: (socket: Socket) => void): Promise<Proxy> {
  return serve(createServer(), "connection", answer);
}

function forwardTo(address: RedisAddress): (socket: Socket) => void {
  return (socket) => {
    const url = "url" in address ? new URL(address.url) : undefined;
    const onward = "socket" in address ? connect(address.socket) : connect(Number(url!.port), url!.hostname);
    onward.on("error", () => socket.destroy()).on("close", () => socket.destroy());
    socket.on("close", () => onward.destroy());
    socket.pipe(onward).pipe(socket);
  };
}

async function serve(server: Server, event: string, answer: (socket: Socket) => void, port = 0): Promise<Proxy> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  server.on(event, (socket: Socket) => answer(socket.on("error", () => {})));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { port: (server.address() as AddressInfo).port, close, [Symbol.asyncDispose]: close };
}
