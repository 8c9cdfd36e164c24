import assert from "node:assert/strict";
import { once } from "node:events";
import { access, chmod, readdir } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { type CheckResult, runCheck } from "../../../src/cli/doctor/check.ts";
import { checkOwnRedis, checkRedisServer } from "../../../src/cli/doctor/check-redis.ts";
import { checkStore } from "../../../src/cli/doctor/check-store.ts";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { DEAD_LETTER_QUEUE } from "../../../src/schemas/names.ts";
import { SOFTWARE } from "../../../src/software.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { assertPlain, jsonOf, type RunOptions, Workspace } from "../../helpers/cli.ts";
import { workerInfo } from "../../helpers/runs/worker-info.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

let work: Workspace;

before(async () => {
  // Makes sure that doctor finds a Redis server on any machine.
  await (await startTestRedis()).close();
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

/** The checks of doctor, by name. */
async function examine(code: number, args: string[] = [], options: RunOptions = {}): Promise<Map<string, CheckResult>> {
  const { ok, checks } = jsonOf(await work.expect(code, ["doctor", "--json", ...args], options));
  assert.equal(ok, code === 0);
  return new Map((checks as CheckResult[]).map((check) => [check.name, check]));
}

function wrongOnes(checks: Map<string, CheckResult>): string[] {
  return [...checks.values()].filter(({ state }) => state === "wrong").map(({ name }) => name);
}

test("on a healthy machine, doctor prints a line per check, and leaves nothing behind", async () => {
  const { stdout } = await work.expect(0, ["doctor"]);
  assertPlain(stdout);
  const lines = stdout.trimEnd().split("\n");
  assert.equal(lines.pop(), "Nothing is wrong");
  const names = ["Node", "Redis", "store", "provider cpu", "provider cuda", "model tiny-image", "model tiny-sentiment"];
  const named = lines.map((line) => /^(?:ok|note) +(\S+(?: \S+)?) {2,}\S/.exec(line)?.[1]);
  assert.deepEqual(named, names);
  assert.match(lines[2]!, /not checked\. To change it, .*--out/);

  const checks = await examine(0, ["--out", "above/and/below"]);
  assert.deepEqual([...checks.keys()], names);
  assert.match(checks.get("Node")!.found, new RegExp(`^${process.versions.node} `));
  assert.match(checks.get("Redis")!.found, /starts its own server: .*(valkey|redis)/);
  assert.match(checks.get("store")!.found, /above\/and\/below\/: writes, reads, lists, and refuses a second write/);
  assert.equal(checks.get("provider cpu")!.state, "ok");
  for (const id of ["tiny-image", "tiny-sentiment"])
    assert.ok(checks.get(`model ${id}`)!.found.endsWith((await loadBuiltIn(id)).digest), id);
  const cuda = checks.get("provider cuda")!;
  if (cuda.state === "note" && process.platform === "linux" && process.arch === "x64") {
    assert.match(cuda.found, /\.so[.\d]* is missing|CUDA/);
    assert.match(cuda.fix!, /CUDA 12 and cuDNN 9.*onnxruntime-node.*install/);
  }
  assert.deepEqual([await readdir(work.path), await readdir(work.file("tmp"))], [["tmp"], []]);
});

test("--json also has each fix under its old name, `mend`, for one minor version", async () => {
  const checks = [...(await examine(0)).values()] as (CheckResult & Record<string, string | undefined>)[];
  assert.ok(checks.some(({ fix }) => fix !== undefined));
  for (const { fix, mend: old } of checks) assert.equal(old, fix);
});

test("--gpu reports what is missing for a GPU, or the results of each GPU", async (t) => {
  const { stdout } = await work.run(["doctor", "--gpu", "--json"]);
  const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: CheckResult[] };
  if (ok) return t.diagnostic(`this machine has a GPU: ${JSON.stringify(checks)}`);
  const { name, state, found, fix } = checks.at(-1)!;
  assert.equal(state, "wrong");
  assert.match(`${name} ${found}`, /CUDA|GPU|cuda:0/);
  assert.ok(fix !== undefined && fix !== "", found);
  await work.expect(1, ["doctor", "--gpu"]);
  await work.write("one.csv", "id,text\n1,fine\n");
  const args = ["label", "text", "one.csv", "--model", "tiny-sentiment", "--out", "never"];
  const refused = await work.expect(2, [...args, "--device", "cuda"]);
  assert.match(refused.stderr, /^labelmill: DEVICE_UNAVAILABLE: --device cuda: .*\.so[.\d]* is missing|GPU/m);
  await assert.rejects(access(work.file("never")), { code: "ENOENT" });
});

test("an unreachable Redis is one wrong check, without its password", async () => {
  const env = { REDIS_URL: "redis://someone:hunter2@127.0.0.1:1/0" };
  const { stdout, stderr } = await work.expect(1, ["doctor"], { env });
  const wrong =
    /^wrong +Redis +REDIS_UNREACHABLE: Redis at redis:\/\/someone:\*\*\*@127\.0\.0\.1:1\/0 .*refused.*To fix it/m;
  assert.match(stdout, wrong);
  assert.match(stdout, /^ok +model tiny-sentiment .*\n1 of \d+ checks found something wrong\n$/m);
  assert.doesNotMatch(stdout, /workers|dead letters/, "no server to ask");
  assert.doesNotMatch(stdout + stderr, /hunter2/);
});

test("the checks of a Redis server report its persistence, workers and dead letters", async () => {
  await using server = await TcpRedis.start();
  await using open = new AsyncDisposableStack();
  const redis = await openRedis(server.address, "producer");
  open.defer(() => redis.disconnect());
  const ask = async () => {
    const checks = new Map<string, CheckResult>();
    for await (const check of checkRedisServer({ url: server.url })) checks.set(check.name, check);
    return checks;
  };
  const states = (checks: Map<string, CheckResult>) => [...checks.values()].map(({ state }) => state);

  const bare = await ask();
  assert.deepEqual([...bare.keys()], ["Redis", "Redis persistence", "workers", "dead letters"]);
  assert.deepEqual(states(bare), ["ok", "note", "note", "ok"]);
  assert.match(bare.get("Redis")!.found, /127\.0\.0\.1:\d+.*: (Redis|Valkey) \d+\.\d+.*noeviction/);
  assert.match(bare.get("Redis persistence")!.found, /appendonly is off.*plans it again/);
  assert.match(bare.get("workers")!.fix!, /labelmill worker/);

  await redis.config("SET", "appendonly", "yes");
  const registry = new WorkerRegistry(redis);
  await registry.beat(workerInfo({ software: SOFTWARE }));
  assert.deepEqual(states(await ask()), ["ok", "ok", "ok", "ok"]);

  await registry.beat(workerInfo({ software: "labelmill 0.0.1", host: "elsewhere" }));
  const queue = openQueue(redis, DEAD_LETTER_QUEUE);
  await queue.add("dead", { reason: "payload: no JSON" });
  await queue.close();
  const mixed = await examine(0, [], { env: { REDIS_URL: server.url } });
  assert.deepEqual(states(mixed).slice(1, 5), ["ok", "ok", "note", "note"]);
  assert.match(mixed.get("workers")!.found, /^2 workers; 1 do not have .*elsewhere:\d+ \(labelmill 0\.0\.1\)/);
  assert.match(mixed.get("dead letters")!.found, /^1 in /);

  await redis.config("SET", "maxmemory-policy", "allkeys-lru");
  const evicting = await examine(1, [], { env: { REDIS_URL: server.url } });
  assert.deepEqual(wrongOnes(evicting), ["Redis"]);
  assert.match(evicting.get("Redis")!.found, /noeviction .*got allkeys-lru.*CONFIG SET maxmemory-policy noeviction/);
});

test("the check of an S3 prefix writes, reads and lists it and leaves nothing, and a missing bucket is wrong", async () => {
  await using server = await startTestS3();
  const bucket = await server.makeBucket();
  const out = `s3://${bucket}/a prefix/`.replace(" ", "%20");
  const { state, found } = (await examine(0, ["--out", out], { env: server.env })).get("store")!;
  assert.equal(state, server.conditionalWrites ? "ok" : "note", found);
  assert.ok(found.startsWith(`${out}: `), found);
  const s3 = new S3(server.settings);
  assert.deepEqual(await Array.fromAsync(s3.list(bucket, "")), []);

  const missing = await runCheck("store", () => checkStore("s3://labelmill-no-such-bucket/out/", s3));
  assert.equal(missing.state, "wrong");
  assert.match(missing.found, /^STORE_FAILED: .*bucket does not exist/);
  s3.close();
});

test("an S3 server that ignores conditions is a note", async () => {
  const chosen = process.env.LABELMILL_TEST_S3;
  process.env.LABELMILL_TEST_S3 = JSON.stringify({ kind: "fauxqs", name: "fauxqs" });
  await using server = await startTestS3();
  if (chosen === undefined) delete process.env.LABELMILL_TEST_S3;
  else process.env.LABELMILL_TEST_S3 = chosen;
  const s3 = new S3(server.settings);
  const bucket = await server.makeBucket();
  const { state, found } = await checkStore(`s3://${bucket}`, s3);
  assert.equal(state, "note");
  assert.match(found, /only if no worker continues after its lock has expired/);
  assert.deepEqual(await Array.fromAsync(s3.list(bucket, "")), []);
  s3.close();
});

test("a server that does not answer is one wrong check, after a short time", async () => {
  const silent = createServer().listen(0, "127.0.0.1");
  await once(silent, "listening");
  const sockets = new Set<Socket>();
  silent.on("connection", (socket) => sockets.add(socket.on("error", () => {})));
  const { port } = silent.address() as AddressInfo;
  const settings = { endpoint: `http://127.0.0.1:${port}`, region: "us-east-1", pathStyle: true };
  const s3 = new S3(settings, { tries: 2, silentMs: 500 });
  try {
    const checks = await examine(1, [], { env: { REDIS_URL: `redis://127.0.0.1:${port}` } });
    assert.deepEqual(wrongOnes(checks), ["Redis"]);
    assert.match(checks.get("Redis")!.found, /no reply in time/);

    Object.assign(process.env, { AWS_ACCESS_KEY_ID: "key", AWS_SECRET_ACCESS_KEY: "hunter2" });
    const { state, found } = await runCheck("store", () => checkStore("s3://bucket/out/", s3));
    assert.equal(state, "wrong");
    assert.match(found, /^STORE_FAILED: .*s3:\/\/bucket\/out\/.*no answer in time/);
    assert.doesNotMatch(found, /hunter2/);
  } finally {
    s3.close();
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

test("a Redis server that must be downloaded is a note without a download, and none at all is wrong", async () => {
  const docker = 'case "$1" in info) echo 29.0;; image) exit 1;; pull) : > "$0.pulled";; esac';
  await chmod(await work.write("bin/docker", `#!/bin/sh\n${docker}\n`), 0o755);
  const cacheDir = work.file("no-cache");
  const find = (folder: string) => runCheck("Redis", () => checkOwnRedis({ cacheDir, path: work.file(folder) }));
  const { state, found, fix } = await find("bin");
  assert.equal(state, "note", found);
  assert.match(`${found} ${fix}`, /has to download.*pulling.*valkey.*install Valkey or Redis/);
  for (const made of ["bin/docker.pulled", "no-cache"])
    await assert.rejects(access(work.file(made)), { code: "ENOENT" });

  const none = await find("nowhere");
  assert.equal(none.state, "wrong");
  assert.match(none.found, /^REDIS_MISSING: .*REDIS_URL.*Docker/);
});
