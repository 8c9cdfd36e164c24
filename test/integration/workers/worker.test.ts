import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Queue, type Job as QueuedJob, QueueEvents } from "bullmq";
import { type Config, loadConfig } from "../../../src/config.ts";
import { LabelmillError } from "../../../src/errors.ts";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { readPart } from "../../../src/rows/part.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { DROPPED_EVENTS_KEY } from "../../../src/runs/queues/results-queue.ts";
import { EventSchema } from "../../../src/schemas/event.ts";
import type { Job } from "../../../src/schemas/job.ts";
import {
  DEAD_LETTER_QUEUE,
  jobId,
  KEY_PREFIX,
  partKey,
  queueName,
  RESULTS_QUEUE,
  RUNS_QUEUE,
} from "../../../src/schemas/names.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { committedEvent, ResultEvents } from "../../../src/workers/result-events.ts";
import { startWorker, type WorkerOptions } from "../../../src/workers/worker.ts";
import { FAST, TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";

const MODEL = "tiny-sentiment";

/** A worker in this process, and the queue that it serves. */
async function serve(pipeline: TestPipeline, settings: Partial<Config> = {}, options: Partial<WorkerOptions> = {}) {
  const model = await loadBuiltIn(MODEL);
  const worker = await startWorker({
    redis: pipeline.redis.address,
    config: loadConfig({ flags: { threads: 1, ...FAST, ...settings } }),
    models: [model],
    s3: new S3(),
    roots: { files: [pipeline.folder], s3: [] },
    log: createLogger("silent", false),
    ...options,
  });
  pipeline.defer(() => worker.close());
  const redis = await openRedis(pipeline.redis.address, "worker");
  pipeline.defer(() => redis.disconnect());
  const connection = { connection: redis, prefix: KEY_PREFIX };
  const queue = new Queue(queueName(model, "bulk"), connection);
  pipeline.defer(() => queue.close());
  const events = new QueueEvents(queue.name, { connection: redis.duplicate(), prefix: KEY_PREFIX });
  pipeline.defer(() => events.close());
  await events.waitUntilReady();
  return { worker, model, redis, connection, queue, events, ledger: new RunLedger(redis) };
}

function jobOf(pipeline: TestPipeline, model: { id: string; digest: string }, texts: string[]): Job {
  const run = randomBytes(8).toString("hex");
  return {
    v: 3,
    run,
    slice: 0,
    model: { id: model.id, digest: model.digest, task: "text-classification" },
    output: pathToFileURL(`${join(pipeline.folder, "out")}/`).href,
    key: partKey(run, 0),
    topK: 2,
    events: "none",
    sources: ["memory:texts"],
    items: texts.map((text, record) => ({ id: `t${record}`, source: 0, record, text })),
  };
}

async function plan(ledger: RunLedger, job: Job): Promise<void> {
  await ledger.begin(job.run, { output: job.output, model: job.model, lane: "bulk" });
  await ledger.plan(
    job.run,
    [{ slice: 0, ranges: [{ input: 0, first: 0, count: job.items!.length }] }],
    job.items!.length,
  );
}

/** Adds a job and waits for its end. */
async function finish({ queue, events }: Awaited<ReturnType<typeof serve>>, job: unknown, id: string): Promise<string> {
  const added: QueuedJob = await queue.add("slice", job, { jobId: id });
  return added.waitUntilFinished(events).then(
    () => "completed",
    (error: Error) => error.message,
  );
}

test("a job that cannot be parsed goes to the dead-letter queue with the reason, and its slice fails permanently", async () => {
  await using pipeline = await TestPipeline.open();
  const context = await serve(pipeline);
  const good = jobOf(pipeline, context.model, ["fine"]);
  await plan(context.ledger, good);
  const dead = new Queue(DEAD_LETTER_QUEUE, context.connection);
  pipeline.defer(() => dead.close());
  const wrong = [
    [{ ...good, v: 1 }, jobId(good.run, 0), /v: /],
    [{ ...good, key: "../../etc/passwd" }, "wrong-key", /key: /],
    [{ ...good, surprise: 1 }, "unknown-key", /surprise/],
    [{ hello: "context" }, "nonsense", /v: /],
    [good, "other-id", /id is not that of its run/],
  ] as const;
  for (const [data, id, reason] of wrong) {
    assert.match(await finish(context, data, id), reason);
    const buried = (await dead.getJobs()).find((job) => job.data.job === id)!;
    assert.match(buried.data.reason, reason);
    assert.deepEqual(JSON.parse(buried.data.data), data);
  }
  assert.equal((await context.ledger.progress(good.run))!.failed, 1);
  // The worker still runs: the next job succeeds.
  const next = jobOf(pipeline, context.model, ["lovely"]);
  await plan(context.ledger, next);
  assert.equal(await finish(context, next, jobId(next.run, 0)), "completed");
});

test("a job that names an output outside the grants fails with NOT_GRANTED, and nothing is written", async () => {
  await using pipeline = await TestPipeline.open();
  const context = await serve(pipeline, {}, { roots: { files: [join(pipeline.folder, "granted")], s3: [] } });
  const job = jobOf(pipeline, context.model, ["fine"]);
  for (const output of [job.output, `${pathToFileURL(pipeline.folder).href}/granted/../out/`]) {
    const hostile = { ...job, output };
    await plan(context.ledger, hostile);
    assert.match(await finish(context, hostile, jobId(job.run, 0)), /NOT_GRANTED/);
    await context.queue.remove(jobId(job.run, 0));
  }
  await assert.rejects(readFile(join(pipeline.folder, "out", job.key)), { code: "ENOENT" });
});

test("a file reference outside the grants fails its own row only", async () => {
  await using pipeline = await TestPipeline.open();
  const model = await loadBuiltIn("tiny-image");
  await pipeline.spawnWorker({ model: "tiny-image", roots: [join(pipeline.folder, "out")] });
  const redis = await openRedis(pipeline.redis.address, "worker");
  pipeline.defer(() => redis.disconnect());
  const queue = new Queue(queueName(model, "bulk"), { connection: redis, prefix: KEY_PREFIX });
  pipeline.defer(() => queue.close());
  const events = new QueueEvents(queue.name, { connection: redis.duplicate(), prefix: KEY_PREFIX });
  pipeline.defer(() => events.close());
  await events.waitUntilReady();
  const base = jobOf(pipeline, model, []);
  const image = pathToFileURL("/etc/passwd").href;
  const job: Job = {
    ...base,
    model: { id: model.id, digest: model.digest, task: "image-classification" },
    items: [
      { id: "a", source: 0, record: 0, image },
      { id: "b", source: 0, record: 1, image: "http://127.0.0.1:1/x.png" },
      { id: "c", source: 0, record: 2, image: "gopher://example.org/x.png" },
    ],
  };
  await plan(new RunLedger(redis), job);
  const added = await queue.add("slice", job, { jobId: jobId(job.run, 0) });
  await added.waitUntilFinished(events);
  const { rows } = readPart(await readFile(join(pipeline.folder, "out", job.key)));
  assert.deepEqual(
    rows.map((row) => ("error" in row ? row.error.code : row.label)),
    ["NOT_GRANTED", "URL_REFUSED", "URL_REFUSED"],
  );
});

test("an existing part is adopted: its receipt is committed, not that of other rows", async () => {
  await using pipeline = await TestPipeline.open();
  const context = await serve(pipeline);
  const job = jobOf(pipeline, context.model, ["fine", "awful"]);
  await plan(context.ledger, job);
  await mkdir(join(pipeline.folder, "out"));
  const theirs = job.items!.map(({ id, record }) =>
    JSON.stringify({
      id,
      label: "OTHER",
      score: 0.5,
      labels: [{ label: "OTHER", score: 0.5 }],
      source: { uri: "memory:texts", record },
    }),
  );
  await writeFile(join(pipeline.folder, "out", job.key), `${theirs.join("\n")}\n`);
  assert.equal(await finish(context, job, jobId(job.run, 0)), "completed");
  assert.deepEqual(await context.ledger.counts(job.run), { labels: { OTHER: 2 }, errorCodes: {} });
  assert.equal(context.worker.engines[0]!.stats.items, 0, "nothing was labeled again");
});

test("if outputs are granted separately, a folder that may be read is not written to", async () => {
  await using pipeline = await TestPipeline.open();
  const outputRoots = [join(pipeline.folder, "results")];
  const context = await serve(pipeline, { outputRoots });
  const [{ outputRoots: registered } = {}] = await new WorkerRegistry(context.redis).workers();
  assert.deepEqual(registered, outputRoots);
  const readable = jobOf(pipeline, context.model, ["fine"]);
  await plan(context.ledger, readable);
  assert.match(await finish(context, readable, jobId(readable.run, 0)), /NOT_GRANTED/);
  await assert.rejects(readFile(join(pipeline.folder, "out", readable.key)), { code: "ENOENT" });
  const output = pathToFileURL(`${join(pipeline.folder, "results", "a")}/`).href;
  const writable = { ...jobOf(pipeline, context.model, ["fine"]), output };
  await plan(context.ledger, writable);
  assert.equal(await finish(context, writable, jobId(writable.run, 0)), "completed");
});

test("a part of another slice is neither adopted nor replaced", async () => {
  await using pipeline = await TestPipeline.open();
  const context = await serve(pipeline);
  const job = jobOf(pipeline, context.model, ["fine"]);
  await plan(context.ledger, job);
  await mkdir(join(pipeline.folder, "out"));
  const path = join(pipeline.folder, "out", job.key);
  await writeFile(
    path,
    `${JSON.stringify({ id: "x", error: { code: "X", message: "" }, source: { uri: "memory:texts", record: 9 } })}\n`,
  );
  const before = await readFile(path, "utf8");
  assert.match(await finish(context, job, jobId(job.run, 0)), /PART_MISMATCH/);
  assert.equal(await readFile(path, "utf8"), before);
  assert.deepEqual((await Array.fromAsync(context.ledger.slices(job.run, 1)))[0]!.failed?.code, "PART_MISMATCH");
});

test("a store that fails for a while uses attempts and loses no row", async () => {
  await using pipeline = await TestPipeline.open();
  let failures = 0;
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 40);
  await serve(
    pipeline,
    {},
    {
      around: ({ steps, label }) => ({
        label,
        steps: {
          ...steps,
          openOutput: async (uri) => {
            if (failures++ < 2) throw new LabelmillError("STORE_FAILED", "the disk is full");
            return steps.openOutput(uri);
          },
        },
      }),
    },
  );
  const { state, store } = await pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 20 });
  assert.equal(state, "succeeded");
  assert.ok(failures > 2);
  assert.ok((await verifyOutput(store)).ok);
});

test("an unexpected error is retried, like any other infrastructure failure", async () => {
  await using pipeline = await TestPipeline.open();
  let failures = 0;
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 10);
  await serve(
    pipeline,
    {},
    {
      around: ({ steps, label }) => ({
        label,
        steps: {
          ...steps,
          commit: async (job, part) => {
            if (failures++ === 0) throw new Error("OOM command not allowed when used memory > 'maxmemory'.");
            return steps.commit(job, part);
          },
        },
      }),
    },
  );
  const { state } = await pipeline.run({ kind: "text", path, model: MODEL, out: "out" });
  assert.deepEqual([state, failures], ["succeeded", 2]);
});

test("a worker closes although its Redis is unreachable, and does not wait for it", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await startTestRedis();
  const { promise: labeling, resolve } = Promise.withResolvers<void>();
  const worker = await startWorker({
    redis: redis.address,
    config: loadConfig({ flags: { threads: 1, ...FAST, graceMs: 60_000 } }),
    models: [await loadBuiltIn(MODEL)],
    s3: new S3(),
    roots: { files: [pipeline.folder], s3: [] },
    log: createLogger("silent", false),
    around: ({ steps, label }) => ({
      steps,
      label: (items, topK, signal) => {
        resolve();
        return once(signal, "abort").then(() => label(items, topK, signal));
      },
    }),
  });
  const adding = await openRedis(redis.address, "producer");
  const queue = new Queue(queueName(worker.engines[0]!.model, "bulk"), { connection: adding, prefix: KEY_PREFIX });
  queue.on("error", () => {});
  const job = jobOf(pipeline, worker.engines[0]!.model, ["fine"]);
  await plan(new RunLedger(adding), job);
  await queue.add("slice", job, { jobId: jobId(job.run, 0) });
  await labeling;
  await redis.close();
  // Within the time of the test, not within the grace time of a minute.
  await worker.close();
  await queue.close();
  adding.disconnect();
});

test("a slice is given back even if one of its steps ignores the abort", async () => {
  await using pipeline = await TestPipeline.open();
  const { promise: labeling, resolve } = Promise.withResolvers<void>();
  const { worker, model, queue, redis, ledger } = await serve(
    pipeline,
    { graceMs: 100, lockMs: 600_000 },
    {
      around: ({ steps }) => ({
        steps,
        label: () => {
          resolve();
          return new Promise(() => {});
        },
      }),
    },
  );
  const job = jobOf(pipeline, model, ["fine"]);
  await plan(ledger, job);
  await queue.add("slice", job, { jobId: jobId(job.run, 0) });
  await labeling;
  await worker.close();
  const { waiting, active } = await queue.getJobCounts("waiting", "active");
  assert.deepEqual({ waiting, active }, { waiting: 1, active: 0 });
  assert.equal(await redis.exists(`${KEY_PREFIX}:${queue.name}:${jobId(job.run, 0)}:lock`), 0);
});

test("a worker closes although its Redis dies while the worker removes its registration", {
  timeout: 30_000,
}, async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await startTestRedis();
  const sockets = new Set<Socket>();
  let deaf = false;
  const door = createServer((outer) => {
    const inner = connect((redis.address as { socket: string }).socket);
    outer.on("data", (data) => deaf || inner.write(data));
    inner.on("data", (data) => outer.write(data));
    for (const socket of [outer, inner]) sockets.add(socket.on("error", () => {}));
  }).listen(0, "127.0.0.1");
  await once(door, "listening");
  const worker = await startWorker({
    redis: { url: `redis://127.0.0.1:${(door.address() as AddressInfo).port}` },
    config: loadConfig({ flags: { threads: 1, ...FAST } }),
    models: [await loadBuiltIn(MODEL)],
    s3: new S3(),
    roots: { files: [pipeline.folder], s3: [] },
    log: createLogger("silent", false),
  });
  deaf = true;
  const closing = worker.close();
  await new Promise(setImmediate);
  door.close();
  for (const socket of sockets) socket.destroy();
  await closing;
  await redis.close();
});

test("a run whose files cannot be written fails with the reason; the same request again closes it", async () => {
  await using pipeline = await TestPipeline.open();
  let full = true;
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 20);
  await serve(
    pipeline,
    { attempts: 2 },
    {
      around: ({ steps, label }) => ({
        label,
        steps: {
          ...steps,
          openOutput: async (uri) => {
            const store = await steps.openOutput(uri);
            const put: typeof store.put = async (key, body) => {
              if (full) throw new LabelmillError("STORE_FAILED", "the disk is full");
              await store.put(key, body);
            };
            return new Proxy(store, {
              get: (target, name) => {
                const value = name === "put" ? put : Reflect.get(target, name, target);
                return typeof value === "function" ? value.bind(target) : value;
              },
            });
          },
        },
      }),
    },
  );
  const input = { kind: "text", path, model: MODEL, out: "out" } as const;
  const { state: failed, runFile, ledger } = await pipeline.run(input, { attempts: 2 });
  assert.equal(failed, "failed");
  assert.match((await ledger.progress(runFile.run))!.reason!, /^STORE_FAILED: the disk is full/);
  full = false;
  const { state, store } = await pipeline.run(input, { attempts: 2 });
  assert.equal(state, "succeeded");
  assert.ok((await verifyOutput(store)).ok);
});

test("a request to close a run that cannot be parsed goes to the dead-letter queue", async () => {
  await using pipeline = await TestPipeline.open();
  const { connection } = await serve(pipeline);
  const runs = new Queue(RUNS_QUEUE, connection);
  const dead = new Queue(DEAD_LETTER_QUEUE, connection);
  const events = new QueueEvents(RUNS_QUEUE, { connection: connection.connection.duplicate(), prefix: KEY_PREFIX });
  for (const opened of [runs, dead, events]) pipeline.defer(() => opened.close());
  await events.waitUntilReady();
  const job = await runs.add("finalize", { v: 3, run: "../../etc", output: "memory:x" }, { attempts: 5 });
  await assert.rejects(job.waitUntilFinished(events), /JOB_INVALID: run: /);
  assert.deepEqual(
    (await dead.getJobs()).map(({ data }) => data.reason.split(":")[0]),
    ["run"],
  );
});

test("a worker that is frozen past its lock and continues doubles nothing", async () => {
  await using pipeline = await TestPipeline.open();
  const frozen = await pipeline.spawnWorker({ model: MODEL });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 3000);
  const redis = await openRedis(pipeline.redis.address, "worker");
  pipeline.defer(() => redis.disconnect());
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 150, events: "parts" });
  await firstCommit(pipeline);
  frozen.kill("SIGSTOP");
  await pipeline.spawnWorker({ model: MODEL });
  const { state, store } = await running;
  assert.equal(state, "succeeded");
  const before = await verifyOutput(store);
  frozen.kill("SIGCONT");
  frozen.kill("SIGTERM");
  await once(frozen, "exit");
  assert.deepEqual(await verifyOutput(store), before);
  assert.deepEqual(before.totals, { parts: 20, planned: 3000, labeled: 3000, errors: 0 });
  assert.ok(before.ok);
});

test("two workers, one of them started late: both work to the end", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.spawnWorker({ model: MODEL, settings: { ...FAST, threads: 1 } });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 3000);
  const running = pipeline.run({ kind: "text", path, model: MODEL, out: "out" }, { sliceItems: 50 });
  await firstCommit(pipeline);
  const late = await serve(pipeline);
  const { store, ledger, runFile } = await running;
  assert.ok((await verifyOutput(store)).ok);
  const lateItems = late.worker.engines[0]!.stats.items;
  assert.ok(lateItems >= 300, `the late worker labeled ${lateItems} of 3000 items`);
  assert.equal((await ledger.progress(runFile.run))!.committed, 60);
});

test("events wait in a bounded outbox: the oldest are dropped and counted", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await openRedis(pipeline.redis.address, "worker");
  pipeline.defer(() => redis.disconnect());
  const events = new ResultEvents(redis, 50);
  const queue = new Queue(RESULTS_QUEUE, { connection: redis, prefix: KEY_PREFIX });
  const model = await loadBuiltIn(MODEL);
  const part = {
    receipt: { rows: 1, errors: 0, bytes: 9, sha256: "0".repeat(64) },
    labels: { A: 1 },
    errorCodes: {},
    rows: [],
  };
  const base = jobOf(pipeline, model, ["x"]);
  for (let slice = 0; slice < 200; slice++)
    await events.publish(committedEvent({ ...base, slice, key: partKey(base.run, slice), events: "parts" }, part));
  const waiting = await queue.getJobs(["waiting"]);
  const dropped = Number(await redis.get(DROPPED_EVENTS_KEY));
  assert.ok(waiting.length <= 55, `${waiting.length} wait`);
  assert.equal(waiting.length + dropped, 200);
  const slices = waiting.map((job) => EventSchema.parse(job.data).slice);
  assert.equal(Math.max(...slices), 199);
  assert.equal(Math.min(...slices), dropped);
  await events.close();
  await queue.close();
});

/** Settles when the run has committed its first slice. */
async function firstCommit(pipeline: TestPipeline): Promise<void> {
  const redis = await openRedis(pipeline.redis.address, "worker");
  await redis.psubscribe(`${KEY_PREFIX}:run:*:changed`);
  await once(redis, "pmessage");
  redis.disconnect();
}

test("a file that is deleted during a run: the slices that are not read yet fail with INPUT_NOT_FOUND, which names it", async () => {
  await using pipeline = await TestPipeline.open();
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 500);
  const ledger = new RunLedger(await pipeline.connection());
  const isPlanned = async () => (await ledger.runs(1))[0]?.slices !== undefined;
  await pipeline.worker(
    { threads: 1, concurrency: 1 },
    {
      around: ({ steps, label }) => ({
        steps,
        label: async (...all) => {
          // The planner reads it too.
          while (!(await isPlanned()));
          await rm(path, { force: true });
          return label(...all);
        },
      }),
    },
  );
  const { state, store } = await pipeline.run(
    { kind: "text", path, model: "tiny-sentiment", out: "out", travels: "split" },
    { sliceItems: 50 },
  );
  assert.equal(state, "failed");
  const { failed, totals } = (await readManifest(store))!;
  assert.ok(totals.labeled > 0);
  for (const { code, message } of failed) {
    assert.equal(code, "INPUT_NOT_FOUND");
    assert.match(message, /texts\.csv/);
  }
});
