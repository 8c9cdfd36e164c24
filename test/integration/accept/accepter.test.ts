import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { deriveRunId } from "../../../src/producers/accept/run-id.ts";
import { collected, MODEL, openAccepting } from "../../helpers/runs/accepting.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { isError } from "../../helpers/store-conformance.ts";

const filesIn = async (pipeline: TestPipeline, folder = "labels") =>
  (await readdir(join(pipeline.folder, folder))).filter((name) => !name.startsWith(".")).sort();

/** Waits until the folder of accepted submissions is empty. */
async function settled(journal: { runs(): AsyncIterable<string> }): Promise<void> {
  const deadline = performance.now() + 10_000;
  while ((await collected(journal.runs())).length > 0) {
    if (performance.now() > deadline) throw new Error("records are left");
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("an accepted submission to a declared model waits for a worker, with a record that its end removes", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal, index } = accepting;
  const run = await accepter.accept({ submission: { model: MODEL, texts: ["good", "bad"] }, owner: "key1" });
  assert.deepEqual(await collected(journal.runs()), [run.run]);
  const record = await journal.read(run.run);
  assert.ok(record?.kind === "single");
  assert.deepEqual([record.owner, record.job.items?.length, record.lane], ["key1", 2, "interactive"]);
  const ended = run.wait();
  await pipeline.worker({ threads: 1 });
  assert.deepEqual((await ended).rows, 2);
  await settled(journal);
  assert.deepEqual(await filesIn(pipeline), ["_accepted", `single-${run.run}.jsonl`]);
  const listed = await index.list({ owner: "key1", limit: 10 });
  assert.deepEqual(
    listed.runs.map(({ run: id, kind, key }) => [id, kind, key]),
    [[run.run, "single", `single-${run.run}.jsonl`]],
  );
  assert.deepEqual((await index.list({ owner: "key2", limit: 10 })).runs, []);
});

test("a started submission has no record; keep writes one, and the end removes it", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  const submission = { model: MODEL, texts: ["good"] };
  const quick = await accepter.start({ submission, owner: "-" });
  const slow = await accepter.start({ submission, owner: "-" });
  assert.deepEqual(await collected(journal.runs()), []);
  await slow.keep();
  assert.deepEqual(await collected(journal.runs()), [slow.run.run]);
  await pipeline.worker({ threads: 1 });
  assert.equal((await quick.run.wait()).state, "succeeded");
  await settled(journal);
  // It has ended by now.
  await quick.keep();
  assert.deepEqual(await collected(journal.runs()), []);
});

test("a submission with a given run id is labeled once, also after Redis lost its end", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  const run = deriveRunId("secret", "key1", "order-7");
  const given = { submission: { model: MODEL, texts: ["good"] }, owner: "key1", run };
  const both = await Promise.all([accepter.accept(given), accepter.accept(given)]);
  assert.deepEqual(
    both.map((each) => each.run),
    [run, run],
  );
  const worker = await pipeline.worker({ threads: 1 });
  for (const each of both) assert.equal((await each.wait()).rows, 1);
  await settled(journal);
  await worker.close();
  const redis = await pipeline.connection();
  for (const flush of [false, true]) {
    if (flush) await redis.flushall();
    const again = await accepter.accept(given);
    assert.deepEqual([(await again.wait()).rows, (await collected(again.rows())).length], [1, 1]);
    assert.deepEqual(await collected(journal.runs()), []);
    assert.deepEqual(await redis.keys("*interactive:wait"), []);
  }
  assert.deepEqual(await filesIn(pipeline), ["_accepted", `single-${run}.jsonl`]);
});

test("a failure can be read after the submission, and its record is removed", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  await pipeline.worker({ threads: 1 }, { roots: { files: [], s3: [] } });
  const run = await accepter.accept({ submission: { model: MODEL, texts: ["good"] }, owner: "-" });
  await settled(journal);
  const { state, failed } = await run.wait();
  assert.deepEqual([state, failed?.code], ["failed", "NOT_GRANTED"]);
  const redis = await pipeline.connection();
  assert.ok((await redis.ttl(`{labelmill}:single:${run.run}`)) > 23 * 3600);
});

test("what the journal has and Redis lost is queued again at a start, and after FLUSHALL", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const submission = { model: MODEL, texts: ["good"] };
  const runs: string[] = [];
  {
    await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
    for (let i = 0; i < 3; i++) runs.push((await accepting.accepter.accept({ submission, owner: "k" })).run);
  }
  await redis.flushall();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal, index } = accepting;
  const signal = new AbortController().signal;
  assert.deepEqual(await accepter.replay(signal), { queued: 3, settled: 0 });
  assert.deepEqual(await accepter.replay(signal), { queued: 0, settled: 0 });
  assert.equal((await index.list({ owner: "k", limit: 10 })).runs.length, 3);
  await redis.flushall();
  await pipeline.worker({ threads: 1 });
  // The keeper notices the empty Redis by itself.
  await settled(journal);
  assert.deepEqual(await filesIn(pipeline), ["_accepted", ...runs.map((run) => `single-${run}.jsonl`).sort()]);
});

test("without Redis nothing is accepted, and nothing is written", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting({ url: pipeline.redis.url }, pipeline.output("labels"));
  const { accepter, journal, producer } = accepting;
  const closed = new Promise((resolve) => producer.redis.once("close", resolve));
  await pipeline.redis.kill();
  await closed;
  const submission = { model: MODEL, texts: ["good"] };
  await assert.rejects(accepter.accept({ submission, owner: "-" }), isError("REDIS_UNREACHABLE"));
  await assert.rejects(accepter.start({ submission, owner: "-" }), isError("REDIS_UNREACHABLE"));
  assert.deepEqual(await collected(journal.runs()), []);
});

test("too many items, unknown options and both kinds of items are refused", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  const accept = (submission: object) => accepter.accept({ submission: submission as never, owner: "-" });
  const texts = new Array(501).fill("good");
  await assert.rejects(accept({ model: MODEL, texts }), isError("USAGE", /at most 500 items .* got 501 items/));
  const long = new Array(6).fill("x".repeat(999_999));
  await assert.rejects(accept({ model: MODEL, texts: long }), isError("USAGE", /5000000 bytes/));
  await assert.rejects(accept({ model: MODEL, texts: ["a"], topk: 1 }), isError("USAGE", /topk/));
  await assert.rejects(accept({ model: MODEL, texts: ["a"], images: ["b"] }), isError("USAGE", /got both/));
  await assert.rejects(accept({ model: MODEL, texts: [{ text: "a", ID: "1" }] }), isError("USAGE", /item 0: .*ID/));
  await assert.rejects(accept({ model: "other", texts: ["a"] }), isError("NO_WORKER"));
  assert.deepEqual(await collected(journal.runs()), []);
});

test("a job names the versions of its objects, its text files and where its results go", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal } = accepting;
  const object = { etag: "abc", sequencer: "0A" };
  const results = [{ to: "sidecar" as const }, { to: "webhook" as const, url: "https://hooks.example/labels" }];
  const output = pipeline.output("by-rule");
  const texts = [{ textFile: "s3://in/a.txt", object, id: "a" }];
  const run = await accepter.accept({ submission: { model: MODEL, texts, results, output }, owner: "rule:notes" });
  assert.equal(run.output, `${output}single-${run.run}.jsonl`);
  const record = await journal.read(run.run);
  assert.ok(record?.kind === "single");
  assert.deepEqual(record.job.results, results);
  assert.deepEqual(record.job.items, [{ id: "a", record: 0, textFile: "s3://in/a.txt", object, source: 0 }]);
  const image = { model: MODEL, images: [{ image: "s3://in/a.png", object }] };
  await accepter.accept({ submission: image, owner: "rule:notes" });
  const nowhere = { model: MODEL, texts: ["a"], results: [{ to: "sidecar" as const }] };
  await assert.rejects(accepter.accept({ submission: nowhere, owner: "-" }), isError("USAGE", /sidecars only for/));
});

test("a wait for an accepted run rejects with REDIS_UNREACHABLE without a connection, and a later one gets the end", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting({ url: pipeline.redis.url }, pipeline.output("labels"));
  const { accepter, producer } = accepting;
  const run = await accepter.accept({ submission: { model: MODEL, texts: ["good"] }, owner: "-" });
  const closed = once(producer.redis, "close");
  await pipeline.redis.kill();
  await closed;
  await assert.rejects(run.wait(), isError("REDIS_UNREACHABLE", /wait again/));
  await pipeline.redis.restart();
  if (producer.redis.status !== "ready") await once(producer.redis, "ready");
  await pipeline.worker({ threads: 1 });
  let rows: number | undefined;
  while (rows === undefined)
    rows = await run.wait().then(
      ({ rows: found }) => found,
      () => undefined,
    );
  assert.equal(rows, 1);
});

test("a submission that a full Redis refuses is not accepted, and leaves no record", async () => {
  await using pipeline = await TestPipeline.open();
  await using accepting = await openAccepting(pipeline.redis.address, pipeline.output("labels"));
  const { accepter, journal, producer } = accepting;
  const submission = { model: MODEL, texts: ["good"] };
  const first = await accepter.accept({ submission, owner: "-", run: "0123456789abcdef" });
  const redis = await pipeline.connection();
  await redis.config("SET", "maxmemory", "1");
  await assert.rejects(accepter.accept({ submission, owner: "-" }), isError("REDIS_FULL"));
  // This one has a record already, so it is safe.
  assert.equal((await accepter.accept({ submission, owner: "-", run: first.run })).run, first.run);
  assert.deepEqual(await collected(journal.runs()), [first.run]);
  assert.equal(producer.redis.status, "ready");
});
