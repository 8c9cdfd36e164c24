import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Queue } from "bullmq";
import { WorkerRegistry } from "../../../src/fleet/registry.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { readManifest } from "../../../src/outputs/output.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import { KEY_PREFIX, queueName, RUNS_QUEUE } from "../../../src/schemas/names.ts";
import { Outages } from "../../../src/storage/health/outages.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import { StoreError } from "../../../src/storage/store-error.ts";
import { AttemptRecord } from "../../../src/workers/crashes/attempt-record.ts";
import type { CrashRecord } from "../../../src/workers/crashes/crash-record.ts";
import { LogLines } from "../../helpers/log-lines.ts";
import { type RunRequest, TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { FaultProxy } from "../../helpers/servers/fault-proxy.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";

const MODEL = "tiny-sentiment";
const POLL_MS = 20;
/** The probe of an outage, not the check for conditional writes. */
const PROBE = /probe\.0000000000000001/;
const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

const { digest } = await loadBuiltIn(MODEL);

/** A pipeline whose worker reaches S3 through a proxy, while the tests and planners reach it directly. */
async function open(settings: Record<string, unknown> = {}, plan = false) {
  const stack = new AsyncDisposableStack();
  const proxy = stack.use(await FaultProxy.start(server.endpoint));
  const pipeline = stack.use(await TestPipeline.open());
  const bucket = await server.makeBucket();
  const log = new LogLines();
  const start = (more: Record<string, unknown> = {}, options: { crashRecord?: CrashRecord } = {}) =>
    pipeline.worker(
      { threads: 1, graceMs: 500, ...settings, ...more },
      {
        s3: { ...server.settings, endpoint: proxy.endpoint },
        s3Limits: { delayMs: 1, silentMs: 1_000 },
        roots: { files: [pipeline.folder], s3: [`s3://${bucket}`] },
        log: log.log,
        ...options,
        ...(plan ? { plan: planFromRunFile } : {}),
      },
    );
  const { endpoint: s3Endpoint, region: s3Region, pathStyle: s3PathStyle } = server.settings;
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 200);
  const request = { kind: "text", path, model: MODEL, out: `s3://${bucket}/out/` } as const;
  const direct = { sliceItems: 20, s3Endpoint, s3Region, s3PathStyle };
  const connection = await pipeline.connection();
  const registry = new WorkerRegistry(connection);
  const queueOf = (name: string) => {
    const queue = new Queue(name, { connection, prefix: KEY_PREFIX });
    stack.defer(() => queue.close());
    return queue;
  };
  return {
    ...{ pipeline, proxy, bucket, log, start, request, direct, queueOf },
    ledger: new RunLedger(connection),
    queue: queueOf(queueName({ id: MODEL, digest }, "bulk")),
    run: (more: Partial<RunRequest> = {}, signal?: AbortSignal) => {
      const running = pipeline.run({ ...request, ...more }, direct, signal);
      // If the test fails before it awaits the run, that failure says more.
      running.catch(() => {});
      return running;
    },
    /** The outages that the one worker registers. */
    outages: async () => (await registry.workers())[0]?.outages ?? [],
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** No write below `path` gets an answer, and neither does the probe of an outage. */
function breakWrites(proxy: FaultProxy, path = /part-/): void {
  proxy.next("reset", 1_000_000, { method: "PUT", path });
  proxy.next("reset", 1_000_000, { method: "PUT", path: PROBE });
}

async function until(check: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await check())) {
    assert.ok(performance.now() < deadline, `timed out while waiting for ${check}`);
    await delay(POLL_MS);
  }
}

async function proves(out: string, rows: number): Promise<void> {
  const s3 = new S3(server.settings);
  const { problems, totals } = await verifyOutput(await S3Store.open(s3, out));
  s3.close();
  assert.deepEqual(problems, []);
  assert.equal(totals.labeled, rows);
}

test("an outage longer than the backoff of five attempts uses no attempt, and is logged once", async () => {
  await using context = await open();
  const { proxy, log, queue } = context;
  await context.start();
  breakWrites(proxy);
  const running = context.run();
  // Probes follow after 0.1, 0.3, 0.7, 1.5 and 2.5 s: longer than five attempts of a slice.
  await until(() => proxy.requests.filter((line) => line.startsWith("PUT ") && PROBE.test(line)).length >= 5);
  const [outage] = await context.outages();
  assert.equal(outage?.place, `s3://${context.bucket}`);
  assert.equal(outage?.kind, "outage");
  await until(async () => (await context.outages())[0]!.kept > 0);
  const jobs = await queue.getJobs(["active", "delayed", "prioritized", "waiting"]);
  assert.ok(jobs.length > 0);
  for (const { attemptsMade, stalledCounter } of jobs) assert.deepEqual([attemptsMade, stalledCounter], [0, 0]);
  proxy.clear();
  const { state } = await running;
  assert.equal(state, "succeeded");
  assert.deepEqual([await queue.getFailedCount(), log.warned(/will be retried|failed permanently/)], [0, []]);
  assert.equal(log.warned(/^store s3:.* became unavailable at \d\d:\d\d:\d\d: .*next try in /).length, 1);
  assert.equal(log.warned(/^store s3:.* is back after \d+ s, continuing with \d+ kept slices?$/).length, 1);
  // The next beat of the worker reports the end.
  await until(async () => (await context.outages()).length === 0);
  await proves(context.request.out, 200);
});

test("a part is adopted if the server wrote it, but lost the answer and refuses connections", async () => {
  await using context = await open();
  const { proxy, log } = context;
  await context.start();
  proxy.next("lost", 1, { method: "PUT", path: /part-0000000/ });
  proxy.onFault = () => void proxy.down();
  const running = context.run();
  await log.until(/became unavailable at/);
  assert.match(log.warned(/became unavailable at/)[0]!, /nothing listens there|the connection|ECONN|socket hang up/);
  proxy.onFault = undefined;
  await proxy.up();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/will be retried|failed permanently/), []);
  await proves(context.request.out, 200);
});

test("one key that gets 503 uses the attempts of its own slice only; the run says why it failed", async () => {
  await using context = await open();
  const { proxy, log } = context;
  await context.start();
  proxy.next("slow-down", 1_000_000, { method: "PUT", path: /part-0000003/ });
  const { state, store } = await context.run();
  assert.equal(state, "failed");
  const { failedSlices, failed, totals } = (await readManifest(store))!;
  assert.deepEqual([failedSlices, failed[0]!.slice, failed[0]!.code, totals.labeled], [1, 3, "STORE_FAILED", 180]);
  assert.equal(log.warned(/will be retried/).length, 4);
  assert.deepEqual(log.warned(/became unavailable at/), []);
});

test("two keys that get 503 are an outage although a probe works; it is over when one of them works", async () => {
  await using context = await open();
  const { proxy, log } = context;
  await context.start();
  proxy.next("slow-down", 200, { method: "PUT", path: /part-/ });
  assert.equal((await context.run()).state, "succeeded");
  assert.equal(proxy.count("slow-down"), 200);
  assert.equal(log.warned(/became unavailable at/).length, 1);
  await proves(context.request.out, 200);
});

test("a store that forbids writes fails its run with its message, once the time to fix it is over", async () => {
  await using context = await open({ refusedLimit: "1s" });
  const { proxy, log, ledger } = context;
  await context.start();
  proxy.next("forbidden", 1_000_000, { method: "PUT" });
  const { state, runFile } = await context.run();
  assert.equal(state, "failed");
  const { reason } = (await ledger.progress(runFile.run))!;
  assert.match(reason!, /^STORE_FAILED: could not write s3:.*: forbidden: give these credentials s3:GetObject/);
  assert.equal(log.warned(/its runs fail in 1 s unless this is fixed/).length, 1);
  assert.equal(log.warned(/will be retried/).length, 0);
  proxy.clear();
  assert.equal((await context.run()).state, "succeeded", "the same run continues after the fix");
  await proves(context.request.out, 200);
});

test("writes that are allowed again in time use no attempt", async () => {
  await using context = await open();
  const { proxy, log } = context;
  await context.start();
  proxy.next("forbidden", 1_000_000, { method: "PUT" });
  const running = context.run();
  await log.until(/became unavailable at/);
  proxy.clear();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/will be retried|failed permanently/), []);
});

test("an unavailable store does not delay a run on another store", async () => {
  await using context = await open();
  const { proxy, log, direct } = context;
  await context.start();
  breakWrites(proxy);
  const out = context.run();
  await log.until(/became unavailable at/);
  const path = await writeTexts(join(context.pipeline.folder, "others.csv"), 100);
  const other = await context.pipeline.run({ ...context.request, path, out: "elsewhere" }, direct);
  assert.equal(other.state, "succeeded");
  assert.ok((await verifyOutput(other.store)).ok);
  assert.equal((await context.outages()).length, 1);
  proxy.clear();
  assert.equal((await out).state, "succeeded");
});

test("rows that wait for a store block no slice that must run isolated, nor the slices behind it", async () => {
  await using context = await open();
  const { proxy, log, direct } = context;
  const store = { save: async () => {}, forget: async () => {} };
  const crashes = ["a", "b"].map((by) => ({ by, at: null, after: 0 }));
  let crashing = false;
  await context.start(
    { concurrency: 4 },
    {
      crashRecord: {
        // The slices of the waiting run are healthy. Every second slice of the next run lost its worker twice.
        take: async ({ slice }) =>
          new AttemptRecord("own", store, crashing && slice % 2 === 0 ? { crashes, through: [] } : undefined),
      },
    },
  );
  breakWrites(proxy);
  const path = await writeTexts(join(context.pipeline.folder, "few.csv"), 40);
  const running = context.run({ path });
  await until(async () => (await context.outages())[0]?.kept === 2);
  crashing = true;
  const other = await context.pipeline.run({ ...context.request, out: "elsewhere" }, direct);
  assert.equal(other.state, "succeeded");
  assert.equal(log.warned(/runs isolated/).length, 5);
  assert.equal((await context.outages())[0]!.kept, 2, "the rows still wait");
  proxy.clear();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/will be retried|failed permanently/), []);
  await proves(context.request.out, 40);
});

test("a worker that is stopped in an outage gives its slices back within the grace time, and another one labels them", async () => {
  await using context = await open();
  const { proxy, log, queue } = context;
  const worker = await context.start();
  breakWrites(proxy);
  const running = context.run();
  await until(async () => ((await context.outages())[0]?.kept ?? 0) > 0);
  await worker.close();
  assert.equal(await queue.getActiveCount(), 0);
  for (const job of await queue.getJobs(["delayed", "prioritized", "waiting"]))
    assert.deepEqual([job.attemptsMade, job.stalledCounter], [0, 0]);
  proxy.clear();
  await context.start();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/will be retried|failed permanently/), []);
  await proves(context.request.out, 200);
});

test("a run that is cancelled in an outage ends its slices at once", async () => {
  await using context = await open();
  const { proxy, queue, ledger } = context;
  await context.start();
  breakWrites(proxy);
  const running = context.run();
  await until(async () => ((await context.outages())[0]?.kept ?? 0) > 0);
  const [run] = await ledger.runs(1);
  assert.ok(await ledger.cancel(run!.run));
  assert.equal((await running).state, "cancelled");
  await until(async () => (await queue.getActiveCount()) === 0);
  await until(async () => (await context.outages())[0]?.kept === 0);
});

test("rows over the memory bound are not kept: their slices wait in the queue without using an attempt", async () => {
  await using context = await open({ heldBytes: 8_000 });
  const { proxy, log, queue } = context;
  await context.start();
  breakWrites(proxy);
  const running = context.run();
  // The rows of one slice of the ten are kept. The other slices are delayed and tried again from time to time.
  await until(async () => (await context.outages())[0]?.kept === 1 && (await queue.getDelayedCount()) > 0);
  proxy.clear();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/will be retried|failed permanently/), []);
  await proves(context.request.out, 200);
});

test("the time of an outage does not count for the time limit of a slice", async () => {
  await using context = await open();
  const { proxy, log } = context;
  await context.start();
  breakWrites(proxy);
  const running = context.run({ settings: { sliceTimeoutMs: 5_000 } });
  // Probes follow after 0.1, 0.3, 0.7 and 1.5 s, then every second.
  await until(() => proxy.requests.filter((line) => line.startsWith("PUT ") && PROBE.test(line)).length >= 9);
  proxy.clear();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/will be retried|failed permanently/), []);
});

test("an outage longer than its limit fails slices like any other failure, with the reason of the store", async () => {
  await using context = await open({ outageLimit: "500ms" });
  const { proxy, log } = context;
  await context.start();
  breakWrites(proxy);
  const running = context.run();
  await log.until(/longer than allowed/);
  await log.until(/failed permanently/, 10);
  proxy.clear();
  const { state, store } = await running;
  assert.equal(state, "failed");
  assert.match((await readManifest(store))!.failed[0]!.message, /could not write s3:.*part-/);
});

test("a store that becomes unavailable before a run is closed: the finalizer's job waits and uses no attempt", async () => {
  await using context = await open();
  const { proxy, log, queueOf } = context;
  await context.start();
  breakWrites(proxy, /_manifest|_parts\.jsonl/);
  const running = context.run();
  const runs = queueOf(RUNS_QUEUE);
  await until(() => proxy.requests.filter((line) => PROBE.test(line)).length >= 5);
  // From time to time the job runs for a moment to check the store.
  await until(async () => (await runs.getDelayed())[0]?.attemptsMade === 0);
  proxy.clear();
  assert.equal((await running).state, "succeeded");
  assert.deepEqual(log.warned(/could not be closed/), []);
  await proves(context.request.out, 200);
});

test("a store that becomes unavailable before a run is planned, and again while it is read: the plan's job waits", async () => {
  await using context = await open({}, true);
  const { proxy, log, pipeline, request, direct } = context;
  proxy.failRandomly(["reset"], 1, 0);
  await context.start();
  const { runFile } = await pipeline.submit(request, direct);
  await log.until(/became unavailable at/);
  proxy.clear();
  assert.equal(await pipeline.ended(runFile.run), "succeeded");
  assert.deepEqual(log.warned(/could not be planned|will be retried/), []);
  await proves(request.out, 200);
});

test("a Redis that is out of memory for a while uses no attempt: one attempt is enough", async () => {
  await using context = await open();
  const { pipeline, log, request, direct } = context;
  const redis = await pipeline.connection();
  let full = false;
  await pipeline.worker(
    { threads: 1 },
    {
      log: log.log,
      around: ({ steps, label }) => ({
        label,
        steps: {
          ...steps,
          commit: async (...args) => {
            if (!full) await redis.config("SET", "maxmemory", "1");
            full = true;
            return steps.commit(...args);
          },
        },
      }),
    },
  );
  const running = pipeline.run({ ...request, out: "out" }, { ...direct, attempts: 1 });
  running.catch(() => {});
  await until(() => full && log.lines.some(({ msg }) => /slice delayed|queue.s worker/.test(msg)));
  await redis.config("SET", "maxmemory", "0");
  const { state, store } = await running;
  assert.equal(state, "succeeded");
  assert.deepEqual(log.warned(/failed permanently/), []);
  assert.ok((await verifyOutput(store)).ok);
});

test("a full disk: its run waits, fails with the reason after the limit, and continues when there is room", async (t) => {
  await using context = await open({ refusedLimit: "2s" });
  const { pipeline, log, ledger, request, direct } = context;
  const disk = join(pipeline.folder, "disk");
  await mkdir(disk);
  if (!mount(disk)) return t.skip("needs the right to mount");
  pipeline.defer(() => void execFileSync("umount", ["-l", disk]));
  await context.start();
  const filler = join(disk, "filler");
  const fill = async () => {
    const { bavail, bsize } = statfsSync(disk);
    // Room for the run file only.
    await writeFile(filler, Buffer.alloc((bavail - 8) * bsize));
  };
  await fill();
  const run = async () => {
    const running = pipeline.run({ ...request, out: "disk/out" }, direct);
    running.catch(() => {});
    return running;
  };
  const first = run();
  await log.until(/its runs fail in 2 s unless this is fixed/);
  const { state, runFile } = await first;
  assert.equal(state, "failed");
  assert.match(
    (await ledger.progress(runFile.run))!.reason!,
    /^STORE_FAILED: could not write .*ENOSPC.*free space there/,
  );

  const second = run();
  await log.until(/slice failed permanently/, 2);
  await second;
  await rm(filler);
  await log.until(/is back after/);
  assert.equal((await run()).state, "succeeded");
});

test("a frozen server is logged: which, since when, what happens next; and when it answers again", async () => {
  await using proxy = await FaultProxy.start(server.endpoint);
  const bucket = await server.makeBucket();
  const s3 = new S3({ ...server.settings, endpoint: proxy.endpoint }, { silentMs: 30_000 });
  const log = new LogLines();
  const times = { limitMs: 3_600_000, refusedLimitMs: 600_000, firstProbeMs: 50, mostProbeMs: 100, silentMs: 500 };
  using outages = new Outages(s3, { ...times, log: (level, line) => log.log[level](line) });
  await s3.put({ bucket, key: "before" }, new Uint8Array());
  proxy.failRandomly(["stall"], 1, 0);
  const frozen = s3.get({ bucket, key: "before" });
  frozen.catch(() => {});
  await log.until(/^store s3:.* became unavailable at \d\d:\d\d:\d\d: .*no answer in time.*next try in 1 s$/);
  assert.ok(outages.troubleMs([`s3://${bucket}/x`]) >= 500, "the silence before it was noticed counts too");
  assert.ok(Date.now() - Date.parse(outages.list()[0]!.since) >= 500);
  proxy.clear();
  await log.until(/^store s3:.* is back after/);
  assert.equal(log.lines.length, 2);
  assert.deepEqual(outages.list(), []);
  s3.close();
});

test("a forbidden input is an outage if other inputs fail now: images do not count, and neither do aborted requests", async (t) => {
  const bucket = await server.makeBucket();
  const s3 = new S3(server.settings);
  t.after(() => s3.close());
  const times = { limitMs: 60_000, refusedLimitMs: 60_000, firstProbeMs: 60_000, mostProbeMs: 60_000 };
  using outages = new Outages(s3, { ...times, log: () => {} });
  const refusal = Object.assign(new Error("forbidden"), { name: "AccessDenied", $metadata: { httpStatusCode: 403 } });
  const abort = Object.assign(new Error("aborted"), { name: "AbortError" });
  const outageOf = () => {
    const options = { cause: refusal, retryable: false, place: `s3://${bucket}`, key: "texts/1.csv" };
    const error = new StoreError("forbidden", { ...options, trouble: { kind: "refused", certain: false } });
    return outages.outageOf(error, `s3://${bucket}/out/`);
  };
  outages.onRequest(bucket, "pictures/1.png", true)(refusal);
  assert.equal(await outageOf(), undefined);
  outages.onRequest(bucket, "texts/2.csv")(refusal);
  outages.onRequest(bucket, "texts/2.csv")(abort);
  const outage = await outageOf();
  assert.equal(outage?.place, `s3://${bucket}/texts/*`, "other folders of the bucket may be allowed");
  assert.equal(outages.of([`s3://${bucket}/texts/3.csv`]), outage);
  assert.equal(outages.of([`s3://${bucket}/out/`, `s3://${bucket}/others/1.csv`]), undefined);
});

function mount(folder: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
