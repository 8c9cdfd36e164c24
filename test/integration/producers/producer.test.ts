import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Queue } from "bullmq";
import type { LabelmillError } from "../../../src/errors.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { PlannedRun } from "../../../src/producers/client/planned-run.ts";
import { SingleRun } from "../../../src/producers/client/single-run.ts";
import type { LabelEvent } from "../../../src/schemas/event.ts";
import { KEY_PREFIX, queueName } from "../../../src/schemas/names.ts";
import type { Row } from "../../../src/schemas/row.ts";
import { FsStore } from "../../../src/storage/fs/store.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { isError } from "../../helpers/store-conformance.ts";

const MODEL = "tiny-sentiment";
const EXAMPLES = fileURLToPath(new URL("../../../examples/images/", import.meta.url));

async function collected<T>(all: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of all) found.push(each);
  return found;
}

const verdicts = (rows: readonly Row[]) => rows.map((row) => [row.id, "error" in row ? row.error.code : row.label]);

test("one text is labeled, published on its channel, and stored as a separate object", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const producer = await pipeline.producer();
  const published = Promise.withResolvers<LabelEvent>();
  await producer.subscribe(published.resolve);
  const run = await producer.submit({ model: MODEL, texts: [{ text: "wonderful, great", id: "a", input: { n: 1 } }] });
  assert.ok(run instanceof SingleRun);
  const result = await run.wait();
  assert.deepEqual(result, {
    run: run.run,
    state: "succeeded",
    output: `${pipeline.output("labels")}single-${run.run}.jsonl`,
    rows: 1,
    errors: 0,
    labels: { POSITIVE: 1 },
  });
  const [row] = await collected(run.rows());
  assert.ok(row && "label" in row);
  assert.deepEqual([row.id, row.label, row.input, row.labels.length], ["a", "POSITIVE", { n: 1 }, 2]);
  assert.deepEqual(row.source, { uri: "submitted:", record: 0 });
  assert.deepEqual(await readdir(join(pipeline.folder, "labels")), [`single-${run.run}.jsonl`]);
  const { id, items } = await published.promise;
  assert.deepEqual([id, items], [`${run.run}-0000000`, [row]]);
});

test("a bad item, or an item of the wrong kind, costs only its own row", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 }, { models: [MODEL, "tiny-image"] });
  const producer = await pipeline.producer();
  const texts = await producer.submit({ model: MODEL, texts: ["fine", "", "  ", "x".repeat(1_000_001)] });
  assert.deepEqual(verdicts(await collected(texts.rows())), [
    ["#0", "POSITIVE"],
    ["#1", "EMPTY_TEXT"],
    ["#2", "EMPTY_TEXT"],
    ["#3", "RECORD_TOO_LARGE"],
  ]);
  const wrong = await producer.submit({ model: "tiny-image", texts: ["fine"] });
  assert.deepEqual(verdicts(await collected(wrong.rows())), [["#0", "RECORD_INVALID"]]);
  const private_ = "http://169.254.169.254/latest/meta-data/";
  const images = await producer.submit({
    model: "tiny-image",
    images: ["file:///etc/passwd", private_, "s3://other/x.png"],
  });
  assert.deepEqual(verdicts(await collected(images.rows())), [
    ["#0", "NOT_GRANTED"],
    ["#1", "URL_REFUSED"],
    ["#2", "NOT_GRANTED"],
  ]);
});

test("images are labeled by their references", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker(
    { threads: 1 },
    { models: ["tiny-image"], roots: { files: [pipeline.folder, EXAMPLES], s3: [] } },
  );
  const producer = await pipeline.producer();
  const name = "cat-ginger-tabby.jpg";
  const run = await producer.submit({
    model: "tiny-image",
    images: [pathToFileURL(join(EXAMPLES, name)).href],
    topK: 1,
  });
  const [row] = await collected(run.rows());
  assert.ok(row && "label" in row);
  assert.deepEqual([row.label, row.labels.length], ["cat", 1]);
});

test("a submission of more than one slice is a run with a manifest that verifies, with its rows in order", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker();
  const producer = await pipeline.producer({ sliceItems: 50 });
  const texts = Array.from({ length: 220 }, (_, i) => ({ text: `it was good ${i}`, id: `t${i}` }));
  const run = await producer.submit({ model: MODEL, texts });
  assert.ok(run instanceof PlannedRun);
  const { state, rows, errors } = await run.wait();
  assert.deepEqual([state, rows, errors], ["succeeded", 220, 0]);
  assert.deepEqual(
    (await collected(run.rows())).map(({ id }) => id),
    texts.map(({ id }) => id),
  );
  const proof = await verifyOutput(await FsStore.open(join(pipeline.folder, "labels", run.run)));
  assert.deepEqual([proof.ok, proof.totals.parts], [true, 5]);
});

test("without a worker for the model, submit throws NO_WORKER and queues nothing; with a pin, it queues the items for a later worker", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer();
  await assert.rejects(
    producer.submit({ model: MODEL, texts: ["x"] }),
    isError("NO_WORKER", /labelmill worker --models/),
  );
  await assert.rejects(producer.submit({ model: MODEL, texts: [] }), isError("NO_WORKER"));
  const redis = await pipeline.connection();
  assert.deepEqual(await redis.keys("*waiting*"), []);
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const run = await producer.submit({ model: MODEL, texts: ["good"], pin: { id, revision, digest, dtype, task } });
  const ended = run.wait();
  await pipeline.worker({ threads: 1 });
  assert.equal((await ended).state, "succeeded");
  await assert.rejects(producer.submit({ model: MODEL, texts: [] }), isError("INPUT_EMPTY"));
});

test("if the worker may not write the output, the run fails with the reason and the worker continues", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const producer = await pipeline.producer({ output: "file:///nowhere-granted/" });
  const run = await producer.submit({ model: MODEL, texts: ["good"] });
  const { state, failed } = await run.wait();
  assert.deepEqual([state, failed?.code], ["failed", "NOT_GRANTED"]);
  await assert.rejects(collected(run.rows()), isError("RUN_FAILED", /NOT_GRANTED/));
  const good = await (await pipeline.producer()).submit({ model: MODEL, texts: ["good"] });
  assert.equal((await good.wait()).state, "succeeded");
});

test("if Redis is killed and restarts empty, a waiting single is queued again and labeled", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer();
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const run = await producer.submit({ model: MODEL, texts: ["good"], pin: { id, revision, digest, dtype, task } });
  await pipeline.redis.restart();
  const worker = await pipeline.worker({ threads: 1 });
  assert.equal((await run.wait()).state, "succeeded");
  // The end is published before the job leaves its queue.
  await worker.close();
  const queue = new Queue(queueName({ id, digest }, "interactive"), {
    connection: await pipeline.connection(),
    prefix: KEY_PREFIX,
  });
  assert.equal(await queue.getJobCountByTypes("waiting", "active", "failed"), 0);
  await queue.close();
});

test("without Redis, a submission fails immediately with REDIS_UNREACHABLE; it works when Redis is back", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer();
  await pipeline.redis.kill();
  const submit = () => producer.submit({ model: MODEL, texts: ["good"] });
  await assert.rejects(submit(), isError("REDIS_UNREACHABLE", /127\.0\.0\.1.*submit again/));
  let turned = false;
  setImmediate(() => {
    turned = true;
  });
  await assert.rejects(submit(), isError("REDIS_UNREACHABLE"));
  assert.ok(turned, "a caller that submits repeatedly must not keep the connection from reconnecting");
  await pipeline.redis.restart();
  await pipeline.worker({ threads: 1 });
  for (;;) {
    // The connections are back a little later than the server.
    const run = await submit().catch((error: LabelmillError) => error);
    if (run instanceof Error) assert.ok(["REDIS_UNREACHABLE", "NO_WORKER"].includes(run.code), run.message);
    else {
      assert.equal((await run.wait()).state, "succeeded");
      break;
    }
  }
});

test("an invalid submission throws USAGE, and nothing is queued", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const producer = await pipeline.producer();
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ topK: 0 }, /^submit: topK: /],
    [{ lane: "fast" }, /^submit: lane: /],
    [{ events: "all" }, /^submit: events: /],
    [{ model: "" }, /^submit: model: /],
    [{ texts: [5] }, /^item 0: expected a text, got number/],
    [{ texts: [null] }, /^item 0: expected a text, got object/],
    [{ texts: undefined, images: [null] }, /^item 0: expected an image's reference, got object/],
    [{ texts: [{ text: "a", input: 7 }] }, /^submit: items\.0\.input: /],
  ];
  for (const [part, message] of wrong)
    await assert.rejects(producer.submit({ model: MODEL, texts: ["a"], ...part } as never), isError("USAGE", message));
  await assert.rejects(pipeline.producer({ sliceItems: 0 }), isError("USAGE", /^createProducer: sliceItems: /));
  await assert.rejects(pipeline.producer({ output: "labels" }), isError("USAGE", /^createProducer: output: .*s3:\/\//));
  for (const items of [{}, { texts: "a" }, { images: null }])
    await assert.rejects(producer.submit({ model: MODEL, ...items } as never), isError("USAGE", /texts or images/));
  const redis = await pipeline.connection();
  assert.deepEqual(await redis.keys("*:wait"), []);
});

test("createProducer leaves no connection open when it fails", async () => {
  await using pipeline = await TestPipeline.open();
  const redis = await pipeline.connection();
  const ids = async () => ((await redis.client("LIST")) as string).match(/^id=\d+/gm);
  const before = await ids();
  await assert.rejects(pipeline.producer({ s3: { endpoint: "ftp://host" } }), isError("CONFIG_INVALID", /endpoint/));
  assert.deepEqual(await ids(), before);
});

test("closing a producer rejects its waiting callers with ABORTED", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer();
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const pin = { id, revision, digest, dtype, task };
  const single = await producer.submit({ model: MODEL, texts: ["good"], pin });
  const waiting = assert.rejects(single.wait(), isError("ABORTED"));
  await producer.close();
  await waiting;
  await assert.rejects(producer.submit({ model: MODEL, texts: ["good"], pin }), isError("ABORTED"));
});

test("unknown options, unknown fields of an item, and texts together with images are refused", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer();
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const base = { model: MODEL, pin: { id, revision, digest, dtype, task } };
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ texts: ["a"], topk: 2 }, /^submit: .*topk/],
    [{ texts: ["a"], run: "0123456789abcdef" }, /^submit: .*run/],
    [{ texts: [{ text: "a", Id: "1" }] }, /^item 0: .*got Id$/],
    [{ images: ["a"], texts: ["b"] }, /got both/],
    [{ texts: [{ textFile: "s3://a/b" }] }, /^item 0: .*got textFile$/],
    [{ images: [{ image: "s3://a/b", object: {} }] }, /^item 0: .*got object$/],
  ];
  for (const [part, message] of wrong)
    await assert.rejects(producer.submit({ ...base, ...part } as never), isError("USAGE", message));
  assert.deepEqual(await (await pipeline.connection()).keys("*:wait"), []);
});

test("subscribe without a connection rejects with REDIS_UNREACHABLE, and after close with ABORTED", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer();
  await pipeline.redis.kill();
  await assert.rejects(
    producer.subscribe(() => {}),
    isError("REDIS_UNREACHABLE", /subscribe again/),
  );
  await producer.close();
  await assert.rejects(
    producer.subscribe(() => {}),
    isError("ABORTED"),
  );
});

test("a wait for a run of several slices whose connection is lost rejects with REDIS_UNREACHABLE", async () => {
  await using pipeline = await TestPipeline.open();
  const producer = await pipeline.producer({ sliceItems: 1 });
  const { id, revision, digest, dtype, task } = await loadBuiltIn(MODEL);
  const pin = { id, revision, digest, dtype, task };
  const run = await producer.submit({ model: MODEL, texts: new Array(200).fill("good"), pin });
  const waiting = assert.rejects(run.wait(), isError("REDIS_UNREACHABLE", /submit again/));
  await pipeline.redis.kill();
  await waiting;
});
