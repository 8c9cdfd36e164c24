import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Redis } from "ioredis";
import { Heartbeat, heartbeatTtlMs } from "../../../src/fleet/heartbeat.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { crashCount, NO_EVIDENCE } from "../../../src/workers/crashes/evidence.ts";
import { RedisCrashRecord } from "../../../src/workers/crashes/redis-crash-record.ts";
import { crashRecordConformance } from "../../helpers/runs/crash-record-conformance.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";

const NEVER = new AbortController().signal;
const TTL_MS = 500;

const server = await startTestRedis();
const connections: Redis[] = [];
after(async () => {
  for (const connection of connections) connection.disconnect();
  await server.close();
});

const newRef = () => ({ run: randomBytes(8).toString("hex"), slice: 3 });

/** What a process needs to record crashes: a heartbeat, a record, and its own connection. */
class Process {
  readonly redis: Redis;
  readonly heartbeat: Heartbeat;
  readonly losses: RedisCrashRecord;

  private constructor(redis: Redis) {
    this.redis = redis;
    this.heartbeat = new Heartbeat(redis, randomBytes(8).toString("hex"), TTL_MS);
    this.losses = new RedisCrashRecord(redis, this.heartbeat);
  }

  static async start(): Promise<Process> {
    const redis = await openRedis(server.address, "worker");
    connections.push(redis);
    const process = new Process(redis);
    await process.heartbeat.begin();
    return process;
  }

  /** The process dies: it writes nothing more to Redis. */
  kill(): void {
    this.redis.disconnect();
  }
}

crashRecordConformance("redis", async () => {
  let last: Process | undefined;
  return {
    async restart() {
      last?.kill();
      last = await Process.start();
      return last.losses;
    },
    async close() {
      last?.kill();
      const admin = await openRedis(server.address, "producer");
      await admin.flushall();
      admin.disconnect();
    },
  };
});

/** Takes the slice as `first`, then as each of `others`. @returns the number of crashes that the last one sees */
async function handDown(first: Process, ...others: Process[]): Promise<number> {
  const ref = newRef();
  await first.losses.take(ref, false, NEVER);
  let crashes = 0;
  for (const each of others) crashes = crashCount((await each.losses.take(ref, true, NEVER)).evidence);
  return crashes;
}

test("a slice that passes between living processes counts no crash", async () => {
  const [a, b, c] = [await Process.start(), await Process.start(), await Process.start()];
  assert.equal(await handDown(a, b, c, a, b, c), 0);
});

test("no process counts as dead after Redis was frozen until every heartbeat had expired", async () => {
  const [a, b, c] = [await Process.start(), await Process.start(), await Process.start()];
  const ref = newRef();
  await a.losses.take(ref, false, NEVER);
  for (const each of [b, c, a]) {
    process.kill(server.pid, "SIGSTOP");
    await delay(3 * TTL_MS);
    // Taken while Redis is frozen, so that it reads the heartbeats before the other processes can renew them.
    const taken = each.losses.take(ref, true, NEVER);
    await delay(TTL_MS);
    process.kill(server.pid, "SIGCONT");
    assert.equal(crashCount((await taken).evidence), 0);
  }
});

test("after a restart of Redis without its data, processes that reconnect late do not count as dead", async () => {
  const [a, b, c] = [await Process.start(), await Process.start(), await Process.start()];
  const ref = newRef();
  await a.losses.take(ref, false, NEVER);
  await b.losses.take(ref, true, NEVER);
  for (const each of [a, b]) each.redis.disconnect();
  await c.redis.del(...[a, b, c].map(({ heartbeat }) => `{labelmill}:alive:${heartbeat.start}`));
  const taken = c.losses.take(ref, true, NEVER);
  await delay(TTL_MS / 2);
  for (const each of [a, b]) await each.redis.connect();
  assert.equal(crashCount((await taken).evidence), 0);
});

test("a process that lost its connection counts as dead until it is back, and not after that", async () => {
  const [a, b, c] = [await Process.start(), await Process.start(), await Process.start()];
  const ref = newRef();
  await a.losses.take(ref, false, NEVER);
  await b.losses.take(ref, true, NEVER);
  a.redis.disconnect();
  b.redis.disconnect();
  assert.equal(crashCount((await c.losses.take(ref, true, NEVER)).evidence), 2);
  await Promise.all([a.redis.connect(), b.redis.connect()]);
  await Promise.all([a.heartbeat.beat(), b.heartbeat.beat()]);
  assert.equal(crashCount((await c.losses.take(ref, true, NEVER)).evidence), 0);
});

test("a process that ends in order and leaves a slice behind counts no crash", async () => {
  const [a, b, c] = [await Process.start(), await Process.start(), await Process.start()];
  const ref = newRef();
  await a.losses.take(ref, false, NEVER);
  await b.losses.take(ref, true, NEVER);
  for (const each of [a, b]) {
    await each.heartbeat.end(true);
    each.kill();
  }
  assert.equal(crashCount((await c.losses.take(ref, true, NEVER)).evidence), 0);
});

test("both crashes are certain before a third process runs the slice, including one of a moment ago", async () => {
  const [a, b] = [await Process.start(), await Process.start()];
  const ref = newRef();
  await a.losses.take(ref, false, NEVER);
  a.kill();
  await b.losses.take(ref, true, NEVER);
  b.kill();
  assert.equal(crashCount((await (await Process.start()).losses.take(ref, true, NEVER)).evidence), 2);
});

test("a worker that waits for heartbeats can be stopped, and counts no crash itself", async () => {
  const [a, b, c] = [await Process.start(), await Process.start(), await Process.start()];
  const ref = newRef();
  await a.losses.take(ref, false, NEVER);
  a.kill();
  await b.losses.take(ref, true, NEVER);
  b.kill();
  const stop = new AbortController();
  const taken = c.losses.take(ref, true, stop.signal);
  stop.abort();
  await assert.rejects(taken);
  c.kill();
  assert.equal(crashCount((await (await Process.start()).losses.take(ref, true, NEVER)).evidence), 2);
});

test("a new job of a known slice keeps the evidence of the earlier job", async () => {
  const processes = [await Process.start(), await Process.start()];
  const ref = newRef();
  for (const each of processes) {
    await each.losses.take(ref, false, NEVER);
    // No one else waits for the answer to this write.
    await each.redis.ping();
    await each.redis.ping();
    each.kill();
  }
  assert.equal(crashCount((await (await Process.start()).losses.take(ref, true, NEVER)).evidence), 2);
});

test("a healthy slice costs two commands, waits for neither, and leaves nothing", async () => {
  const { losses, redis } = await Process.start();
  const ref = newRef();
  const sent: string[] = [];
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (command, stream) => {
    if (command.args.some((arg) => String(arg).includes(ref.run))) sent.push(command.name);
    return send(command, stream);
  };
  const trial = await losses.take(ref, false, NEVER);
  await trial.end();
  assert.deepEqual(sent, ["set", "del"]);
  await redis.ping();
  assert.deepEqual(await redis.keys(`*${ref.run}*`), []);
});

test("entries of another version and unreadable entries are ignored", async () => {
  const { losses, redis } = await Process.start();
  const ref = newRef();
  const name = `{labelmill}:slice:${ref.run}-3`;
  await redis.set(`${name}:holder`, "what?");
  await redis.hset(`${name}:tries`, { "x.1": "no JSON", "y.1": '{"start":5}', "z.1": '{"start":"z","at":[4,5]}' });
  await redis.hset(`{labelmill}:run:${ref.run}:losses`, "3", '{"at":4,"crashedOn":[4],"lost":3}');
  assert.deepEqual((await losses.take(ref, true, NEVER)).evidence, NO_EVIDENCE);
});

test("a heartbeat expires after a multiple of the lock time, within bounds", () => {
  assert.deepEqual([100, 6_001, 10_000, 600_000].map(heartbeatTtlMs), [2_000, 3_001, 5_000, 5_000]);
});
