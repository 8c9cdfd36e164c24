import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { AofConfirmation } from "../../../src/redis/aof.ts";
import type { RedisAddress } from "../../../src/redis/connect.ts";
import { startEmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import type { ServerData } from "../../../src/redis/embedded/launch.ts";
import { ACCEPT_STEPS, type AcceptMainOptions } from "../../helpers/processes/accept-steps.ts";
import { collected, openAccepting } from "../../helpers/runs/accepting.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { testSearch } from "../../helpers/servers/redis.ts";

const MAIN = fileURLToPath(new URL("../../helpers/processes/accept-main.ts", import.meta.url));
const TEXTS = ["good", "bad", "it was fine"];

type Started = {
  child: ChildProcess;
  runs: string[];
  ended: Promise<number | string>;
  printed(count: number): Promise<void>;
};

/** Starts a process that accepts submissions. Resolves when it is open or has died. */
async function start(pipeline: TestPipeline, options: Partial<AcceptMainOptions>): Promise<Started> {
  const all: AcceptMainOptions = {
    ...{ redis: { url: pipeline.redis.url }, output: pipeline.output("labels"), state: pipeline.output("state") },
    ...{ texts: TEXTS, count: 1 },
    ...options,
  };
  const child = spawn(process.execPath, [MAIN, JSON.stringify(all)], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit").then(([code, signal]) => signal ?? code);
  pipeline.defer(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  const runs: string[] = [];
  const lines = createInterface({ input: child.stdout! });
  const wakes: (() => void)[] = [];
  lines.on("line", (line) => {
    runs.push(line);
    for (const wake of wakes.splice(0)) wake();
  });
  const printed = async (count: number) => {
    while (runs.length < count + 1) await Promise.race([new Promise<void>((resolve) => wakes.push(resolve)), ended]);
  };
  await Promise.race([once(lines, "line"), ended]);
  return {
    child,
    ended,
    printed,
    get runs() {
      return runs.slice(1);
    },
  };
}

/** The parts of an output with their numbers of rows, by run. */
async function partsOf(pipeline: TestPipeline): Promise<Map<string, number>> {
  const folder = join(pipeline.folder, "labels");
  const names = (await readdir(folder)).filter((name) => name.startsWith("single-"));
  const rows = await Promise.all(
    names.map(async (name) => (await readFile(join(folder, name), "utf8")).trimEnd().split("\n").length),
  );
  return new Map(names.map((name, at) => [name.slice(7, 23), rows[at]!]));
}

async function hasWaitaof(data: ServerData): Promise<boolean> {
  await using server = await startEmbeddedRedis({ ...testSearch(), data });
  const confirmation = await AofConfirmation.open(server.address, "key").catch(() => undefined);
  confirmation?.close();
  return confirmation !== undefined;
}

/** Replays the journal, labels everything, and waits until no record is left. */
async function finish(pipeline: TestPipeline, redis: RedisAddress = { url: pipeline.redis.url }): Promise<void> {
  await using accepting = await openAccepting(redis, pipeline.output("labels"));
  await pipeline.worker({ threads: 1 }, { redis });
  const signal = AbortSignal.timeout(60_000);
  do await accepting.accepter.replay(signal);
  while ((await collected(accepting.journal.runs())).length > 0);
}

for (const step of ACCEPT_STEPS)
  for (const isEmptied of [false, true])
    test(`kill -9 of the server at "${step}"${isEmptied ? ", and an empty Redis" : ""}: the retry makes one result`, async () => {
      await using pipeline = await TestPipeline.open();
      const key = "order-7";
      if (step === "ended" || step === "removed") await pipeline.worker({ threads: 1 });
      const first = await start(pipeline, { kill: step, key, stays: true });
      assert.equal(await first.ended, "SIGKILL");
      if (isEmptied) await (await pipeline.connection()).flushall();
      // Two clients retry at once, at two servers.
      const retries = await Promise.all([start(pipeline, { key }), start(pipeline, { key })]);
      for (const { ended } of retries) assert.equal(await ended, 0);
      const [run] = retries[0].runs;
      assert.match(run!, /^[0-9a-f]{16}$/);
      assert.deepEqual(
        retries.map(({ runs }) => runs),
        [[run], [run]],
      );
      await finish(pipeline);
      assert.deepEqual([...(await partsOf(pipeline))], [[run, TEXTS.length]]);
    });

for (const step of ["journaled", "queued", "listed"] as const)
  test(`kill -9 of the server at "${step}" and of Redis: the replay labels what was accepted, without a retry`, async () => {
    await using pipeline = await TestPipeline.open();
    const first = await start(pipeline, { kill: step });
    assert.equal(await first.ended, "SIGKILL");
    await pipeline.redis.restart();
    await finish(pipeline);
    assert.deepEqual([...(await partsOf(pipeline)).values()], [TEXTS.length]);
  });

test("kill -9 of the server and of a Redis that keeps nothing, while submissions are accepted: every one is labeled", async () => {
  await using pipeline = await TestPipeline.open();
  const accepted: string[] = [];
  for (let round = 0; round < 3; round++) {
    const server = await start(pipeline, { count: 1_000_000, concurrency: 4 });
    await server.printed(30);
    await pipeline.redis.kill();
    // The server stays for one of the rounds, and goes on with the empty Redis.
    if (round === 1) {
      await pipeline.redis.restart();
      await server.printed(server.runs.length + 30);
    }
    server.child.kill("SIGKILL");
    await server.ended;
    accepted.push(...server.runs);
    if (round !== 1) await pipeline.redis.restart();
  }
  assert.ok(accepted.length >= 120);
  assert.equal(new Set(accepted).size, accepted.length);
  await finish(pipeline);
  const parts = await partsOf(pipeline);
  assert.deepEqual(
    accepted.filter((run) => parts.get(run) !== TEXTS.length),
    [],
  );
});

for (const fsync of ["always", "everysec"] as const)
  test(`--accept redis, appendfsync ${fsync}: kill -9 of the server and of Redis: every accepted submission is labeled`, async (context) => {
    await using pipeline = await TestPipeline.open();
    const data = { folder: join(pipeline.folder, "redis"), fsync };
    if (fsync === "everysec" && !(await hasWaitaof(data)))
      return context.skip("the Redis server of this machine is older than 7.2");
    const accepted: string[] = [];
    for (let round = 0; round < 3; round++) {
      await using redis = await startEmbeddedRedis({ ...testSearch(), data });
      const server = await start(pipeline, {
        ...{ redis: redis.address, accept: "redis", count: 1_000_000, concurrency: 4 },
      });
      await server.printed(30);
      process.kill(redis.pid, "SIGKILL");
      await redis.ended;
      server.child.kill("SIGKILL");
      await server.ended;
      accepted.push(...server.runs);
    }
    assert.ok(accepted.length >= 90);
    await using redis = await startEmbeddedRedis({ ...testSearch(), data });
    await pipeline.worker({ threads: 1 }, { redis: redis.address });
    const deadline = performance.now() + 60_000;
    let lost = accepted;
    while (lost.length > 0 && performance.now() < deadline) {
      const parts = await partsOf(pipeline).catch(() => new Map());
      lost = lost.filter((run) => parts.get(run) !== TEXTS.length);
      await new Promise((next) => setImmediate(next));
    }
    assert.deepEqual(lost, []);
  });
