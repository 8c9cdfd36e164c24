import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Queue, Worker as QueueWorker, UnrecoverableError } from "bullmq";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { Planner, type PlannerOptions, type SlicesFrom } from "../../../src/producers/planning/planner.ts";
import { RedisMemory } from "../../../src/producers/planning/redis-memory.ts";
import { RedisRoom } from "../../../src/producers/planning/redis-room.ts";
import { slicesOf } from "../../../src/producers/planning/run-slices.ts";
import { Channels } from "../../../src/runs/channels.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { RunChanges } from "../../../src/runs/watch.ts";
import { jobId, KEY_PREFIX, partKey, queueName } from "../../../src/schemas/names.ts";
import { OutputOptionsSchema } from "../../../src/schemas/output.ts";
import type { Source } from "../../../src/sources/source.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { isError } from "../../helpers/store-conformance.ts";

const MODEL = "tiny-sentiment";
const never = new AbortController().signal;
const read = { format: "lines", delimiter: null, column: null, idColumn: null, keep: [] } as const;

function sourceOf(texts: readonly string[]): Source {
  return {
    input: { uri: "memory:texts", size: null, modifiedAt: null, hash: null },
    read: { ...read, keep: [] },
    async *records() {
      yield* texts.map((text, record) => ({ record, id: String(record), text }));
    },
  };
}

/** A run with one slice per text, and its planner, which has not begun. */
async function planned(pipeline: TestPipeline, texts: readonly string[], options: Partial<PlannerOptions> = {}) {
  const redis = await pipeline.connection();
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const source = sourceOf(texts);
  const runFile = newRunFile({
    run: randomBytes(8).toString("hex"),
    spec: {
      ...{ model: { id, revision, digest, dtype, task }, read: source.read, topK: 1, events: "none" },
      ...{ sliceItems: 1, sliceBytes: 64_000_000, output: OutputOptionsSchema.parse({ compression: "gzip" }) },
    },
    settings: { sliceTimeoutMs: 5000 },
    inputs: [source],
  });
  const lines: string[] = [];
  const room = new RedisRoom(redis, 1_000, (line) => lines.push(line));
  const all: PlannerOptions = {
    lane: "bulk",
    windowSlices: 10,
    retries: { attempts: 1, backoffMs: 100 },
    room,
    ...options,
  };
  const ledger = new RunLedger(redis);
  const planner = new Planner(redis, ledger, runFile, "memory:out", all);
  pipeline.defer(() => planner.close());
  const queue = new Queue(queueName({ id, digest }, "bulk"), { connection: redis, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  const changes = await RunChanges.open(new Channels(await pipeline.connection()), runFile.run, 50);
  pipeline.defer(() => changes.close());
  const slices = slicesOf(runFile, [source]);
  return {
    redis,
    ledger,
    queue,
    run: runFile.run,
    plan: (signal = never, of: SlicesFrom = slices) => planner.plan(of, changes, signal),
    slices,
  };
}

test("a job has the key of its part until compaction, and the timeout of an attempt", async () => {
  await using pipeline = await TestPipeline.open();
  const { queue, run, plan } = await planned(pipeline, ["good", "bad"]);
  await plan();
  const jobs = await queue.getJobs(["prioritized"]);
  assert.deepEqual(
    jobs.map(({ data }) => [data.key, data.timeoutMs]).sort(),
    [0, 1].map((slice) => [partKey(run, slice, true), 5000]),
  );
});

test("above the share of Redis's memory, no slice is queued until there is room or the maximum wait is over", async () => {
  await using pipeline = await TestPipeline.open();
  const { redis, queue, plan } = await planned(pipeline, ["good", "bad"], { redisShare: 0.5 });
  await redis.config("SET", "maxmemory", "100mb");
  assert.equal(await new RedisMemory(redis, 0.001).isAboveShare(), true);
  assert.equal(await new RedisMemory(redis, 0.9).isAboveShare(), false);
  const used = Number(/used_memory:(\d+)/.exec(await redis.info("memory"))![1]);
  await redis.config("SET", "maxmemory", String(Math.round(used * 1.6)));
  await assert.rejects(plan(), isError("REDIS_FULL", /out of memory for 1 s/));
  assert.equal(await queue.getJobCountByTypes("prioritized"), 0);
  const planning = plan();
  await redis.config("SET", "maxmemory", "0");
  await planning;
  assert.equal(await queue.getJobCountByTypes("prioritized"), 2);
});

test("slices whose items travel wait when 64 MB of them are queued, whatever the window", async () => {
  await using pipeline = await TestPipeline.open();
  // JSON escapes this character, so the text has more bytes than its million characters.
  const heavy = "\u0001".repeat(1_000_000);
  const { queue, ledger, run, plan } = await planned(pipeline, new Array(14).fill(heavy), { windowSlices: 100 });
  const stop = new AbortController();
  const planning = assert.rejects(plan(stop.signal), /enough/);
  while ((await queue.getJobCountByTypes("prioritized")) < 10);
  const part = { receipt: { rows: 1, errors: 0, bytes: 1, sha256: "ab".repeat(32) }, labels: {}, errorCodes: {} };
  assert.equal(await ledger.plannedSlices(run), 10);
  await ledger.commit(run, 0, part);
  await ledger.announce(run);
  while ((await queue.getJobCountByTypes("prioritized")) < 11);
  assert.equal(await ledger.plannedSlices(run), 11);
  stop.abort(new Error("enough"));
  await planning;
});

test("a slice is noted before it is queued, so that no worker can commit an unplanned slice", async () => {
  await using pipeline = await TestPipeline.open();
  const { queue, ledger, run, plan } = await planned(pipeline, ["good", "bad", "fine"]);
  const { plan: note } = ledger;
  const found: string[] = [];
  ledger.plan = async (of, slices, ...rest) => {
    for (const { slice } of slices) found.push(await queue.getJobState(jobId(of, slice)));
    return note.call(ledger, of, slices, ...rest);
  };
  await plan();
  assert.deepEqual(found, ["unknown", "unknown", "unknown"]);
  assert.equal(await ledger.plannedSlices(run), 3);
});

test("if a run is paused while it is planned, planning stops until the run is resumed", async () => {
  await using pipeline = await TestPipeline.open();
  const { queue, ledger, run, plan } = await planned(pipeline, ["good", "bad", "fine"]);
  const { plan: note, state: readState } = ledger;
  ledger.plan = async (...args) => {
    await ledger.pause(run);
    ledger.plan = note;
    return note.call(ledger, ...args);
  };
  const waits = Promise.withResolvers<void>();
  ledger.state = async (of) => {
    waits.resolve();
    return readState.call(ledger, of);
  };
  const planning = plan();
  await Promise.race([waits.promise, planning]);
  assert.deepEqual([await ledger.plannedSlices(run), await queue.getJobCountByTypes("prioritized")], [1, 0]);
  await ledger.resume(run);
  await planning;
  assert.equal(await queue.getJobCountByTypes("prioritized"), 3);
});

test("a planner that resumes a run immediately queues slices again whose jobs are lost or failed without a note in the ledger", async () => {
  await using pipeline = await TestPipeline.open();
  const { queue, plan } = await planned(pipeline, ["good", "bad", "fine"]);
  await plan();
  await queue.drain();
  await plan();
  assert.equal(await queue.getJobCountByTypes("prioritized"), 3);
  const dying = new QueueWorker(queue.name, async () => Promise.reject(new UnrecoverableError("not noted")), {
    connection: await pipeline.connection(),
    prefix: KEY_PREFIX,
  });
  while ((await queue.getJobCountByTypes("failed")) < 3);
  await dying.close();
  await plan();
  assert.deepEqual(await queue.getJobCounts("prioritized", "failed"), { prioritized: 3, failed: 0 });
});

test("a slice source that always starts at the first slice, as that of a retry, plans no slice twice", async () => {
  await using pipeline = await TestPipeline.open();
  const { queue, ledger, run, plan, slices } = await planned(pipeline, ["good", "bad", "fine"]);
  const { plan: note } = ledger;
  let noted = 0;
  ledger.plan = async (...args) => {
    if (noted++ === 2) throw new Error("killed");
    return note.call(ledger, ...args);
  };
  await assert.rejects(plan(), /killed/);
  await plan(never, () => slices());
  assert.equal(noted, 4, "only the third slice is noted again");
  const { slices: count, items } = (await ledger.progress(run))!;
  assert.deepEqual([count, items, await queue.getJobCountByTypes("prioritized")], [3, 3, 3]);
});
