import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { access, chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after, before, type TestContext, test } from "node:test";
import { openRedis } from "../../../src/redis/connect.ts";
import { startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import { findRedisServer } from "../../../src/redis/embedded/find.ts";
import { startTestRedis, testCacheDir, testSearch } from "../../helpers/servers/redis.ts";

let folder: string;
/** The reason why the tests of the socket's folder cannot run here, or false. */
let noSocket: string | false = false;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "labelmill-test-"));
  const { kind } = await findRedisServer(testSearch());
  if (kind === "container") noSocket = "the server of this machine runs in a container, which has no socket";
});
after(() => rm(folder, { recursive: true }));

test("a new server is empty, saves nothing and evicts nothing", async (context) => {
  await using server = await startTestRedis();
  const redis = await openRedis(server.address, "worker");
  context.after(() => redis.disconnect());
  assert.equal(await redis.ping(), "PONG");
  assert.equal(await redis.dbsize(), 0);
  const expected = { save: "", appendonly: "no", "maxmemory-policy": "noeviction" };
  for (const [name, value] of Object.entries(expected)) {
    assert.deepEqual(await redis.config("GET", name), [name, value]);
  }
});

test("two servers do not share data, and one continues after the end of the other", async (context) => {
  await using second = await startTestRedis();
  await using first = await startTestRedis();
  const one = await openRedis(first.address, "worker");
  context.after(() => one.disconnect());
  const two = await openRedis(second.address, "worker");
  context.after(() => two.disconnect());
  await one.set("key", "of the first");
  assert.equal(await two.get("key"), null);
  one.disconnect();
  await first.close();
  assert.equal(await two.ping(), "PONG");
});

test("close removes the folder, which only this user can open; a second close is allowed", async (context) => {
  if (noSocket) return context.skip(noSocket);
  const server = await startTestRedis();
  const home = path.dirname(socketOf(server));
  assert.equal((await stat(home)).mode & 0o777, 0o700);
  await server.close();
  await server.close();
  assert.equal(await exists(home), false);
});

test("a server that is killed leaves no folder, and can still be closed", async (context) => {
  if (noSocket) return context.skip(noSocket);
  const server = await startTestRedis();
  const { ended } = await watch(server);
  process.kill(server.pid, "SIGKILL");
  await ended;
  await server.close();
  assert.equal(await exists(path.dirname(socketOf(server))), false);
});

test("kill -9 of the command ends its server within 2 s and removes the folder", async (context) => {
  if (noSocket) return context.skip(noSocket);
  const { child, server } = await startOwner(context);
  const { ended } = await watch(server);
  const killed = performance.now();
  child.kill("SIGKILL");
  await ended;
  assert.ok(performance.now() - killed < 2_000);
  assert.equal(await exists(path.dirname(socketOf(server))), false);
});

test("an interrupt of the command's process group does not reach the server", async (context) => {
  const { child, server, nextLine } = await startOwner(context);
  process.kill(-child.pid!, "SIGINT");
  assert.equal(await nextLine(), "SIGINT");
  child.stdin.write("\n");
  assert.equal(await nextLine(), "PONG");
  child.stdin.end();
  assert.deepEqual(await once(child, "close"), [0, null]);
  if ("socket" in server.address) assert.equal(await exists(path.dirname(server.address.socket)), false);
});

test("a temporary folder whose path is too long for a socket is not used", async (context) => {
  if (noSocket) return context.skip(noSocket);
  const long = path.join(folder, "x".repeat(80));
  await mkdir(long);
  const { child, server } = await startOwner(context, { TMPDIR: long, XDG_CACHE_HOME: path.dirname(testCacheDir()) });
  assert.match(socketOf(server), /^\/tmp\/labelmill-[^/]+\/redis\.sock$/);
  child.stdin.end();
  await once(child, "close");
});

test("the error of a server that does not start has its last output; the server leaves nothing", async () => {
  const file = path.join(folder, "redis-server");
  await writeFile(
    file,
    `#!/bin/sh\n[ "$1" = --version ] && exec echo "v=7.0.0"\necho "At: $*"\necho "No luck." >&2\nexit 7\n`,
  );
  await chmod(file, 0o700);
  const failed = await startEmbeddedRedis({ cacheDir: folder, path: folder, say: () => {} }).then(
    () => assert.fail("it cannot start"),
    (error) => error,
  );
  assert.equal(failed.code, "REDIS_UNREACHABLE");
  assert.match(failed.message, /redis-server to start.*exit code 7.*No luck\..*REDIS_URL/s);
  const home = /--dir (\S+)/.exec(failed.message)?.[1];
  assert.ok(home !== undefined);
  assert.equal(await exists(home), false);
});

test("a container gets its settings and its password on standard input, and is removed at the end", async (context) => {
  const real = await findRedisServer(testSearch());
  if (real.kind === "container") return context.skip("this machine has no server for the test's container");
  // A substitute for the Docker client runs the real server on the published port, and records its calls.
  const quoted = real.command.map((word) => `'${word}'`).join(" ");
  const bin = await mkdtemp(path.join(folder, "bin-"));
  const docker = `#!/bin/sh
PATH=/usr/bin:/bin
echo "$*" >> ${bin}/calls
case "$1" in
  info) echo 29.0 ;;
  run) port=\${7#127.0.0.1:}; exec ${quoted} - --bind 127.0.0.1 --port "\${port%:6379}" ;;
esac
`;
  await writeFile(path.join(bin, "docker"), docker, { mode: 0o700 });
  const server = await startEmbeddedRedis({ cacheDir: bin, path: bin, say: () => {} });
  context.after(server.close);
  const redis = await openRedis(server.address, "producer");
  assert.deepEqual(await redis.config("GET", "save"), ["save", ""]);
  assert.deepEqual(await redis.config("GET", "appendonly"), ["appendonly", "no"]);
  redis.disconnect();
  assert.ok("url" in server.address);
  const { password, host } = new URL(server.address.url);
  await assert.rejects(openRedis({ url: `redis://${host}` }, "producer"), /requires a password/);
  await server.close();
  const calls = (await readFile(path.join(bin, "calls"), "utf8")).trim().split("\n");
  const name = /^run --rm --interactive --name (labelmill-\w+) --publish 127\.0\.0\.1:\d+:6379 /.exec(
    calls.at(-2) ?? "",
  )?.[1];
  assert.ok(name !== undefined);
  assert.equal(calls.at(-1), `rm --force ${name}`);
  assert.ok(password.length >= 32 && !calls.join("\n").includes(password), "no process list shows the password");
});

type Owned = { address: { socket: string } | { url: string }; pid: number };

/** Starts a separate process with its own server: helpers/servers/redis-owner.ts. */
async function startOwner(context: TestContext, env: Record<string, string> = {}) {
  const script = path.join(import.meta.dirname, "../../helpers/servers/redis-owner.ts");
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn(process.execPath, [script], {
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  context.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => String((await lines.next()).value);
  const server: Owned = JSON.parse(await nextLine());
  return { child, server, nextLine };
}

/** Connects to the server. `ended` resolves when the end of the server closes the connection. */
async function watch(server: Owned): Promise<{ ended: Promise<void> }> {
  const socket = connect(socketOf(server));
  await once(socket, "connect");
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  socket
    .resume()
    .on("error", () => {}) // A killed server may reset it.
    .once("close", () => resolve());
  return { ended };
}

function socketOf(server: Owned): string {
  assert.ok("socket" in server.address);
  return server.address.socket;
}

async function exists(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}
