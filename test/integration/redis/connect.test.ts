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

test("a password that is wrong, missing or right", async (context) => {
  await using server = await startTestRedis();
  await using door = await openDoor(server.address);
  const admin = await open(context, server.address, "worker");
  await admin.config("SET", "requirepass", "p@ss/w%rd");
  await admin.acl("SETUSER", "ann", "on", ">ann's", "~*", "&*", "+@all");

  const wrong = await failure({ url: `redis://:SECRET@127.0.0.1:${door.port}` });
  assert.equal(wrong.code, "REDIS_UNREACHABLE");
  assert.match(
    wrong.message,
    new RegExp(`^Redis at redis://:\\*\\*\\*@127.0.0.1:${door.port} .*wrong user or password`),
  );
  const wrongUser = await failure({ url: `redis://bob:SECRET@127.0.0.1:${door.port}` });
  assert.match(wrongUser.message, /redis:\/\/bob:\*\*\*@.*wrong user or password/);
  const missing = await failure({ url: `redis://127.0.0.1:${door.port}` });
  assert.match(missing.message, /asks for a password.*redis:\/\/user:password@/);
  for (const login of [":p%40ss%2Fw%25rd", "ann:ann's"]) {
    const redis = await open(context, { url: `redis://${login}@127.0.0.1:${door.port}/3` }, "producer");
    assert.equal(await redis.ping(), "PONG");
  }
});

test("nothing there: a port, a socket, a name", async () => {
  const door = await openDoor({ socket: "/nowhere" });
  await door.close();
  const refused = await failure({ url: `redis://:SECRET@127.0.0.1:${door.port}/1` });
  assert.match(
    refused.message,
    new RegExp(`^Redis at redis://:\\*\\*\\*@127.0.0.1:${door.port}/1 .*connection refused`),
  );
  const both = await failure({ url: `redis://localhost:${door.port}` });
  assert.match(both.message, /connection refused/);
  const socket = await failure({ socket: path.join(tmpdir(), "labelmill-no-such.sock") });
  assert.match(socket.message, /unix:.*labelmill-no-such\.sock .*no such socket.*start the server/);
  const name = await failure({ url: "redis://:SECRET@labelmill.invalid" });
  assert.match(name.message, /labelmill\.invalid .*name (was not found|could not be looked up)/);
});

test("what evicts keys is refused with the command that mends it", async (context) => {
  await using server = await startTestRedis();
  const redis = await open(context, server.address, "worker");
  await redis.config("SET", "maxmemory-policy", "allkeys-lru");
  const unfit = await failure(server.address);
  assert.equal(unfit.code, "REDIS_UNFIT");
  assert.match(unfit.message, /noeviction at .*found allkeys-lru.*redis-cli CONFIG SET maxmemory-policy noeviction/);
  await redis.config("SET", "maxmemory-policy", "noeviction");
  await open(context, server.address, "producer");
});

test("a server that forbids CONFIG is used; one that hides INFO is asked by CONFIG", async (context) => {
  await using server = await startTestRedis();
  await using door = await openDoor(server.address);
  const admin = await open(context, server.address, "worker");
  const rights = { plain: ["-config"], hidden: ["-info"], mute: ["-config", "-info"] };
  for (const [user, denied] of Object.entries(rights)) {
    await admin.acl("SETUSER", user, "on", ">pw", "~*", "&*", "+@all", ...denied);
  }
  const address = (user: string) => ({ url: `redis://${user}:pw@127.0.0.1:${door.port}` });
  for (const user of Object.keys(rights)) await open(context, address(user), "worker");
  await admin.config("SET", "maxmemory-policy", "volatile-ttl");
  for (const user of ["plain", "hidden"]) assert.equal((await failure(address(user))).code, "REDIS_UNFIT", user);
  await open(context, address("mute"), "worker");
});

test("a server that is too old is refused with its version", async () => {
  const info = "# Server\r\nredis_version:5.0.14\r\n# Memory\r\nmaxmemory_policy:noeviction\r\n";
  await using door = await listen((socket) => {
    // One reply for each command, and an argument that says INFO alone is that command.
    socket.on("data", (data) => {
      for (const command of data.toString().split(/^\*/m).slice(1)) {
        const isInfo = /\r\ninfo\r\n/i.test(command);
        socket.write(isInfo ? `$${info.length}\r\n${info}\r\n` : `-ERR unknown command \`HELLO\`, with args\r\n`);
      }
    });
  });
  const old = await failure({ url: `redis://127.0.0.1:${door.port}` });
  assert.equal(old.code, "REDIS_UNFIT");
  assert.match(old.message, /6\.2 or newer.*127\.0\.0\.1.*found version 5\.0\.14\. Start a newer server.*docker run/);
});

test("what hangs up, is silent or speaks something else is told from a server", async () => {
  const url = (door: Door) => ({ url: `redis://:SECRET@127.0.0.1:${door.port}` });
  await using web = await listen((socket) => socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
  assert.match((await failure(url(web))).message, /does not speak the Redis protocol/);
  const tls = await failure({ url: `rediss://127.0.0.1:${web.port}` });
  assert.match(tls.message, /does not speak TLS.*use redis:\/\//);
  await using rude = await listen((socket) => socket.once("data", () => socket.end()));
  assert.match((await failure(url(rude))).message, /does not speak the Redis protocol/);
  await using silent = await listen(() => {});
  const started = performance.now();
  assert.match((await failure(url(silent))).message, /no answer in time/);
  assert.ok(performance.now() - started < 6_000);
});

test("rediss:// speaks TLS and trusts no stranger", async (context) => {
  await using server = await startTestRedis();
  const folder = await mkdtemp(path.join(tmpdir(), "labelmill-test-"));
  context.after(() => rm(folder, { recursive: true }));
  const [keyFile, certFile] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"];
  try {
    await promisify(execFile)("openssl", [...request, "-keyout", keyFile, "-out", certFile]);
  } catch {
    return context.skip("no openssl here to make a certificate");
  }
  const [key, cert] = await Promise.all([readFile(keyFile), readFile(certFile)]);
  await using door = await serve(createTlsServer({ key, cert }), "secureConnection", forwardTo(server.address));
  const stranger = await failure({ url: `rediss://:SECRET@localhost:${door.port}` });
  assert.match(stranger.message, /rediss:\/\/:\*\*\*@localhost.*self-signed.*NODE_EXTRA_CA_CERTS/);
  const plain = await failure({ url: `redis://localhost:${door.port}` });
  assert.match(plain.message, /rediss:\/\//);
});

test("while the connection is lost a producer's command fails at once and a worker's waits", async (context) => {
  await using server = await startTestRedis();
  const door = await openDoor(server.address);
  const login = "url" in server.address ? `:${new URL(server.address.url).password}@` : ""; // A container's has one.
  const address = { url: `redis://${login}127.0.0.1:${door.port}` };
  const [producer, worker] = await Promise.all([open(context, address, "producer"), open(context, address, "worker")]);
  await Promise.all([once(producer, "close"), once(worker, "close"), door.close()]);
  const failed = producer.ping().then(assert.fail, () => "failed");
  assert.equal(await Promise.race([failed, nextTurn("still waits")]), "failed");
  const waits = worker.ping();
  await using _again = await openDoor(server.address, door.port);
  assert.equal(await waits, "PONG");
  if (producer.status !== "ready") await once(producer, "ready");
  assert.equal(await producer.ping(), "PONG");
});

test("a producer's command that was sent fails when the address only drops connections", async (context) => {
  await using server = await startTestRedis();
  const door = await openDoor(server.address);
  const login = "url" in server.address ? `:${new URL(server.address.url).password}@` : "";
  const producer = await open(context, { url: `redis://${login}127.0.0.1:${door.port}` }, "producer");
  const sent = producer.blpop("nothing", 0).then(
    () => "answered",
    (error: Error) => error.message,
  );
  const lost = new Promise((done) => producer.once("close", done));
  await Promise.all([lost, door.close()]);
  // As a load balancer does while its server is down.
  await using _dropping = await serve(createServer(), "connection", (socket) => socket.destroy(), door.port);
  assert.equal(await sent, "Connection is closed.");
});

test("a client that was not connected yet connects at a worker's first command", async (context) => {
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

/** Whatever opening this address throws; none of its lines breaks and none tells the password. */
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

type Door = { port: number; close(): Promise<void>; [Symbol.asyncDispose](): Promise<void> };

/** A TCP port of 127.0.0.1 that leads to a server: what it carries is the real server's. */
function openDoor(address: RedisAddress, port = 0): Promise<Door> {
  return serve(createServer(), "connection", forwardTo(address), port);
}

function listen(answer: (socket: Socket) => void): Promise<Door> {
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

async function serve(server: Server, event: string, answer: (socket: Socket) => void, port = 0): Promise<Door> {
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
