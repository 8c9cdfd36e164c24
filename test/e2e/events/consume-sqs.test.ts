import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { after, before, test } from "node:test";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { s3Uri } from "../../../src/storage/s3/uri.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { startSqs, type TestSqs } from "../../helpers/servers/sqs.ts";

let sqs: TestSqs | undefined;
before(async () => {
  sqs = await startSqs();
});
after(() => sqs?.[Symbol.asyncDispose]());

/** The notification of S3 for an uploaded object. */
function notification(bucket: string, key: string, etag: string): string {
  const s3 = {
    s3SchemaVersion: "1.0",
    bucket: { name: bucket },
    object: { key: key.replaceAll(" ", "+"), eTag: etag },
  };
  return JSON.stringify({ Records: [{ eventVersion: "2.1", eventName: "ObjectCreated:Put", s3 }] });
}

/** Redis, a bucket, a queue, rules for the bucket, and the command that consumes the queue. */
async function setUp(server: TestSqs) {
  const open = new AsyncDisposableStack();
  const pipeline = open.use(await TestPipeline.open());
  const work = open.use(await Workspace.open());
  const settings = { endpoint: server.endpoint, region: "us-east-1", pathStyle: true };
  const s3 = new S3(settings, { tries: 2, delayMs: 1 });
  open.defer(() => s3.close());
  const bucket = await server.makeBucket();
  const queue = await server.makeQueue();
  const rules = [{ name: "reviews", match: { bucket, suffix: ".txt" }, kind: "text", model: "tiny-sentiment" }];
  const config = await work.write("rules.json", JSON.stringify({ rules }));
  const env = { ...server.env, REDIS_URL: pipeline.redis.url };
  const places = ["--out", work.file("labels"), "--state", work.file("state"), "--models", "tiny-sentiment"];
  const on = ["--s3-endpoint", server.endpoint, "--s3-path-style", "--log-level", "info", "--visibility", "2"];
  return {
    ...{ pipeline, work, s3, bucket, queue, settings },
    start: () => work.start(["consume", "sqs", queue, "--config", config, ...places, ...on], { env }),
    /** Uploads a text. @returns the message of its event */
    async upload(key: string, text: string): Promise<string> {
      await s3.put({ bucket, key }, Buffer.from(text));
      return notification(bucket, key, (await s3.head({ bucket, key })).etag);
    },
    parts: async () => (await readdir(work.file("labels"))).filter((name) => name.startsWith("single-")),
    // Not the file that a killed writer leaves beside its object.
    accepted: async () =>
      (await readdir(work.file("labels", "_accepted")).catch(() => [])).filter((name) => !name.startsWith(".")),
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

test("the objects of messages are labeled, and a stop ends the command with its messages deleted", async (t) => {
  if (!sqs) return t.skip("moto cannot be installed");
  await using all = await setUp(sqs);
  const { pipeline, bucket, settings, queue } = all;
  const command = all.start();
  await command.says("Consuming ");
  const uploads = await Promise.all(
    ["a good day.txt", "b/bad.txt"].map((key) => all.upload(key, `it was ${key.includes("good") ? "great" : "awful"}`)),
  );
  await sqs.sendAll(queue, [...uploads, ...uploads, notification(bucket, "image.jpg", "e")]);
  await pipeline.worker({ s3Roots: [`s3://${bucket}/`] }, { s3: settings, roots: { files: [all.work.path], s3: [] } });
  await command.until(all.work.file("labels"), async () => (await all.parts()).length === 2);
  for (let count = await sqs.count(queue); count.visible + count.hidden > 0; ) count = await sqs.count(queue);
  command.child.kill("SIGTERM");
  const { code, stderr } = await command.ended;
  assert.equal(code, 0, stderr);
  assert.ok(stderr.includes("no redrive policy"));
  assert.ok(!stderr.includes(s3Uri({ bucket, key: "b/bad.txt" })), "no key in the log");
  assert.equal((await all.parts()).length, 2);
});

test("a command that is killed between accepting and deleting loses and doubles nothing", async (t) => {
  if (!sqs) return t.skip("moto cannot be installed");
  await using all = await setUp(sqs);
  const messages = await Promise.all(Array.from({ length: 20 }, (_, i) => all.upload(`${i}.txt`, `it was good ${i}`)));
  await sqs.sendAll(all.queue, messages);
  const first = all.start();
  await first.says("Consuming ");
  await first.until(all.work.file("labels", "_accepted"), async () => (await all.accepted()).length > 0);
  first.child.kill("SIGKILL");
  await first.ended;
  const second = all.start();
  await second.says("Consuming ");
  await all.pipeline.worker(
    { s3Roots: [`s3://${all.bucket}/`] },
    { s3: all.settings, roots: { files: [all.work.path], s3: [] } },
  );
  await second.until(all.work.file("labels"), async () => (await all.parts()).length === messages.length);
  for (let count = await sqs.count(all.queue); count.visible + count.hidden > 0; ) count = await sqs.count(all.queue);
  second.child.kill("SIGTERM");
  assert.equal((await second.ended).code, 0);
  assert.equal((await all.parts()).length, messages.length);
});

test("wrong usage ends the command before anything is received", async (t) => {
  if (!sqs) return t.skip("moto cannot be installed");
  await using all = await setUp(sqs);
  const { work, pipeline, queue } = all;
  const env = { ...sqs.env, REDIS_URL: pipeline.redis.url };
  const places = ["--out", work.file("labels"), "--state", work.file("state")];
  const config = ["--config", work.file("rules.json"), ...places];
  const fails = async (code: number, args: string[], words: string, more = env) => {
    const { stderr } = await work.expect(code, ["consume", "sqs", ...args], { env: more });
    assert.ok(stderr.includes(words), stderr);
  };
  await fails(2, [queue, ...places], "expected rules");
  await fails(2, ["hello", ...config], "the URL of an SQS queue");
  await fails(1, [`${queue}-2`, ...config, "--models", "tiny-sentiment"], "QueueDoesNotExist");
  await fails(2, [queue, ...config, "--models", "tiny-image"], "expected a declared model");
  await fails(2, [queue, ...config], "REDIS_URL", { ...sqs.env, REDIS_URL: "" });
});
