import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { openRedis } from "../../../src/redis/connect.ts";
import { findDebianServer, parseOsRelease } from "../../../src/redis/embedded/debian.ts";
import { startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import { findRedisServer, type RedisServer } from "../../../src/redis/embedded/find.ts";
import { testSearch } from "../../helpers/servers/redis.ts";

let root: string;
let real: RedisServer;
let folders = 0;
const system = parseOsRelease(await readFile("/etc/os-release", "utf8").catch(() => ""));
const notDebian = system.isDebian ? false : `this system is ${system.name}, not Debian or Ubuntu`;
const say = () => {};

before(async () => {
  root = await mkdtemp(path.join(tmpdir(), "labelmill-test-"));
  real = await findRedisServer(testSearch());
});
after(() => rm(root, { recursive: true }));

/** Creates a folder for a PATH with these programs as shell scripts. */
async function programs(scripts: Record<string, string>): Promise<string> {
  const folder = path.join(root, `bin${folders++}`);
  await mkdir(folder);
  for (const [name, script] of Object.entries(scripts)) {
    await writeFile(path.join(folder, name), `#!/bin/sh\n${script}\n`);
    await chmod(path.join(folder, name), 0o700);
  }
  return folder;
}

test("a server on the PATH is found and works", async (context) => {
  if (real.kind === "container") return context.skip("the server of this machine runs in a container");
  const quoted = real.command.map((word) => `'${word}'`).join(" ");
  const bin = await programs({ "redis-server": `exec ${quoted} "$@"` });
  const options = { cacheDir: path.join(root, "unused"), path: `relative:${root}/none:${bin}`, say: assert.fail };
  const found = await findRedisServer(options);
  assert.deepEqual(found, { ...real, command: [path.join(bin, "redis-server")] });
  await using server = await startEmbeddedRedis(options);
  const redis = await openRedis(server.address, "producer");
  redis.disconnect();
});

test("valkey-server has priority; a program that is too old, broken or not a server is skipped", async () => {
  const old = await programs({ "valkey-server": "echo 'Redis server v=6.0.16 sha=0'", "redis-server": "exit 1" });
  const other = await programs({ "valkey-server": "echo hello", "redis-server": "echo 'Redis server v=7.0.15 sha=0'" });
  const good = await programs({ "valkey-server": "echo 'Valkey server v=9.0.7 sha=0'" });
  await writeFile(path.join(good, "redis-server"), "not executable");
  const found = await findRedisServer({ cacheDir: root, path: [old, other, good].join(":"), say });
  assert.deepEqual(found, { kind: "binary", command: [path.join(good, "valkey-server")], version: "9.0.7" });
});

test("a container is used if Docker replies and has the image or can pull it", async () => {
  const docker = 'case "$1" in info) echo 29.0;; image) [ -e "$0.image" ];; pull) touch "$0.image";; esac';
  const bin = await programs({ docker: `PATH=/usr/bin:/bin\n${docker}` });
  const lines: string[] = [];
  const options = { cacheDir: root, path: bin, say: (line: string) => lines.push(line) };
  const expected = { kind: "container", docker: path.join(bin, "docker"), image: "valkey/valkey:9.0.7-alpine" };
  assert.deepEqual(await findRedisServer(options), expected);
  assert.match(lines.join("\n"), /pulling .*valkey\/valkey:9\.0\.7-alpine/);
  assert.deepEqual(await findRedisServer(options), expected);
  assert.equal(lines.length, 1, "an existing image is not pulled again");
});

test("if no server is found, one error has the reason and the fix for each of the four places", async () => {
  const bin = await programs({ docker: "exec /bin/sleep 60", "redis-server": "echo 'Redis server v=5.0.14'" });
  const started = performance.now();
  await assert.rejects(findRedisServer({ cacheDir: path.join(root, "empty"), path: bin, say }), (error: Error) => {
    assert.equal((error as Error & { code: string }).code, "REDIS_MISSING");
    const [, url, onPath, docker, debian] = error.message.split("\n");
    assert.match(url!, /REDIS_URL: not set\. Set it to .*redis:\/\//);
    assert.match(onPath!, /PATH: .*expected version 6\.2 or newer of .*redis-server, got 5\.0\.14\. Install/);
    assert.match(docker!, /Docker: .*did not end within 3 s\. Start Docker/);
    assert.match(debian!, /Debian or Ubuntu package: .*\. On these systems: apt-get install redis-server/);
    return true;
  });
  assert.ok(performance.now() - started < 10_000);
  const nothing = findRedisServer({ cacheDir: path.join(root, "empty"), path: "", say });
  await assert.rejects(nothing, /no valkey-server and no redis-server.*no docker on the PATH/s);
});

test("two concurrent calls unpack the package of the distribution once and completely, over a broken one", {
  skip: notDebian,
}, async () => {
  const cacheDir = path.join(root, "cache with a space");
  const target = path.join(cacheDir, `redis-${system.release}-${process.arch}`);
  await mkdir(path.join(target, "usr/bin"), { recursive: true });
  await writeFile(path.join(target, "usr/bin/redis-server"), "half of a program", { mode: 0o700 });
  const abandoned = `${target}.aside-killed`;
  const recent = `${target}.aside-busy`;
  for (const folder of [abandoned, recent]) await mkdir(path.join(folder, "root"), { recursive: true });
  await utimes(abandoned, 0, 0);

  const lines: string[] = [];
  const options = { ...testSearch(), cacheDir, say: (line: string) => lines.push(line) };
  const [one, two] = await Promise.all([findDebianServer(options), findDebianServer(options)]);
  assert.deepEqual(one, two);
  assert.match(lines[0]!, /unpacking the redis-server package .*nothing is installed/);
  assert.deepEqual((await readdir(cacheDir)).sort(), [path.basename(target), path.basename(recent)]);

  const offline = { cacheDir, path: "", say: assert.fail };
  assert.deepEqual(await findDebianServer(offline), one, "a later start needs neither apt nor a network");
  await using server = await startEmbeddedRedis(offline);
  const redis = await openRedis(server.address, "worker");
  assert.equal(await redis.ping(), "PONG");
  redis.disconnect();
});

test("a failed download reports the reason and leaves the cache empty", { skip: notDebian }, async () => {
  const cacheDir = path.join(root, "stays-empty");
  const apt = "echo 'E: The archive is out of reach' >&2; exit 100";
  const bin = await programs({ "apt-get": apt, "dpkg-deb": "exit 1" });
  const failed = findDebianServer({ cacheDir, path: bin, say });
  await assert.rejects(failed, { message: `${bin}/apt-get failed with 100: E: The archive is out of reach` });
  assert.deepEqual(await readdir(cacheDir), []);
});
