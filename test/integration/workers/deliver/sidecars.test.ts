import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { WorkerRegistry } from "../../../../src/fleet/registry.ts";
import { SidecarSchema } from "../../../../src/schemas/enrichment/sidecar.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { LogLines } from "../../../helpers/log-lines.ts";
import { FAST, TestPipeline } from "../../../helpers/runs/pipeline.ts";
import { submitSingle } from "../../../helpers/runs/singles.ts";
import { FaultProxy } from "../../../helpers/servers/fault-proxy.ts";
import { startTestS3 } from "../../../helpers/servers/s3-server.ts";

const IMAGE = fileURLToPath(new URL("../../../fixtures/images/palette.png", import.meta.url));
const SIDECAR = [{ to: "sidecar" as const }];

const server = await startTestS3();
const s3 = new S3(server.settings);
after(async () => {
  s3.close();
  await server[Symbol.asyncDispose]();
});
const skip = !server.conditionalWrites && server.name;

/** A bucket that a worker may read and write. */
async function openBucket(pipeline: TestPipeline, more: Record<string, unknown> = {}) {
  const bucket = await server.makeBucket();
  const root = `s3://${bucket}/`;
  const settings = { threads: 1, s3Roots: [root], outputRoots: [root, pipeline.folder], ...more };
  const put = async (key: string, body: string | Uint8Array) => {
    await s3.put({ bucket, key }, Buffer.from(body as string));
    return (await s3.head({ bucket, key })).etag;
  };
  const sidecar = async (key: string) =>
    SidecarSchema.parse(JSON.parse(Buffer.from(await s3.get({ bucket, key: `${key}.labels.json` })).toString()));
  return { bucket, root, settings, put, sidecar, uri: (key: string) => `s3://${bucket}/${key}` };
}

async function deliveries(pipeline: TestPipeline) {
  const registry = new WorkerRegistry(await pipeline.connection());
  for (;;) {
    const [worker] = await registry.workers();
    if (worker?.deliveries) return worker.deliveries;
    await new Promise((next) => setTimeout(next, 100));
  }
}

test("a sidecar names the label, the model, the version of the object and the run", { skip }, async () => {
  await using pipeline = await TestPipeline.open();
  const { settings, put, sidecar, uri } = await openBucket(pipeline);
  await pipeline.worker(settings, { s3: server.settings, models: ["tiny-sentiment"] });
  const etag = await put("in/a b.txt", "\ufeffa great day");
  const object = { etag, sequencer: "0A" };
  const { run, ended } = await submitSingle(pipeline, {
    model: "tiny-sentiment",
    items: [
      { textFile: uri("in/a%20b.txt"), object },
      { textFile: uri("in/missing.txt"), object },
    ],
    results: SIDECAR,
  });
  const { rows, errors, items, model } = await ended;
  assert.deepEqual([rows, errors], [2, 1]);
  const { input: _, source: __, ...result } = items![0]! as unknown as Record<string, unknown>;
  const { labeledAt, ...found } = await sidecar("in/a b.txt");
  assert.deepEqual(found, { v: 1, ...result, model, object, run });
  assert.ok(Math.abs(Date.parse(labeledAt) - Date.now()) < 60_000);
  // Its version does not exist: nothing is written beside it.
  assert.equal((items![1] as { error: { code: string } }).error.code, "INPUT_CHANGED");
  await assert.rejects(sidecar("in/missing.txt"), { code: "STORE_NOT_FOUND" });
});

test("an object that was replaced is INPUT_CHANGED, and its sidecar is that of the new version", { skip }, async () => {
  await using pipeline = await TestPipeline.open();
  const { settings, put, sidecar, uri } = await openBucket(pipeline);
  const image = await readFile(IMAGE);
  await pipeline.worker(settings, { s3: server.settings, models: ["tiny-image"] });
  const first = await put("in/x.png", Buffer.concat([image, Buffer.from("1")]));
  const second = await put("in/x.png", image);
  const item = (etag: string, sequencer: string) => ({ image: uri("in/x.png"), object: { etag, sequencer } });
  const of = (etag: string, sequencer: string) =>
    submitSingle(pipeline, { model: "tiny-image", items: [item(etag, sequencer)], results: SIDECAR });
  const newer = await of(second, "0B");
  assert.equal((await newer.ended).errors, 0);
  const older = await (await of(first, "0A")).ended;
  assert.equal((older.items![0] as { error: { code: string } }).error.code, "INPUT_CHANGED");
  assert.equal((await sidecar("in/x.png")).run, newer.run);
});

test("version 2 finishes before a killed version 1: the newer sidecar stays", { skip, timeout: 120_000 }, async () => {
  await using pipeline = await TestPipeline.open();
  const { settings, put, sidecar, uri } = await openBucket(pipeline);
  const { endpoint, region, pathStyle } = server.settings;
  const inProcess = { ...settings, s3Endpoint: endpoint, s3Region: region, s3PathStyle: pathStyle };
  const killed = await pipeline.spawnWorker({
    model: "tiny-sentiment",
    settings: { ...FAST, ...inProcess, lockMs: 4000 },
    kills: [{ step: "undelivered", slice: 0, times: 1 }],
  });
  const died = once(killed, "exit");
  const submit = async (text: string, sequencer: string) => {
    const object = { etag: await put("in/x.txt", text), sequencer };
    const items = [{ textFile: uri("in/x.txt"), object }];
    return submitSingle(pipeline, { model: "tiny-sentiment", items, results: SIDECAR });
  };
  const one = await submit("a great day", "0055AED6DCD90281E5");
  assert.equal((await died)[1], "SIGKILL");
  await assert.rejects(sidecar("in/x.txt"), { code: "STORE_NOT_FOUND" }, "killed between commit and sidecar");

  await pipeline.worker(settings, { s3: server.settings });
  const two = await submit("an awful day", "0055AED6DCD90281E6");
  await two.ended;
  const newer = await sidecar("in/x.txt");
  assert.equal(newer.run, two.run);
  // Version 1 is labeled from the part that its first worker committed: its object does not exist any more.
  assert.equal((await one.ended).errors, 0);
  assert.deepEqual(await sidecar("in/x.txt"), newer);
  assert.deepEqual((await deliveries(pipeline)).sidecars, { written: 1, superseded: 1, refused: 0 });
});

test("a sidecar is refused without an explicit grant, and over an object of a user; the labels stay", {
  skip,
}, async () => {
  await using pipeline = await TestPipeline.open();
  const { settings, bucket, put, uri } = await openBucket(pipeline, { outputRoots: undefined });
  const reported = new LogLines();
  await pipeline.worker(settings, { s3: server.settings, log: reported.log });
  const object = { etag: await put("in/x.txt", "good") };
  const items = [{ textFile: uri("in/x.txt"), object }];
  const { ended } = await submitSingle(pipeline, { model: "tiny-sentiment", items, results: SIDECAR });
  assert.deepEqual([(await ended).errors, (await ended).failed], [0, undefined]);
  await assert.rejects(s3.head({ bucket, key: "in/x.txt.labels.json" }), { code: "STORE_NOT_FOUND" });
  assert.equal(reported.warned(/result not written to its object/).length, 1);
});

test("an object of a user with the name of a sidecar stays", { skip }, async () => {
  await using pipeline = await TestPipeline.open();
  const { settings, bucket, put, uri } = await openBucket(pipeline);
  const reported = new LogLines();
  await pipeline.worker(settings, { s3: server.settings, log: reported.log });
  await put("in/x.txt.labels.json", '{"my":"own"}');
  const items = [{ textFile: uri("in/x.txt"), object: { etag: await put("in/x.txt", "good") } }];
  const { ended } = await submitSingle(pipeline, { model: "tiny-sentiment", items, results: SIDECAR });
  assert.equal((await ended).errors, 0);
  assert.equal(Buffer.from(await s3.get({ bucket, key: "in/x.txt.labels.json" })).toString(), '{"my":"own"}');
  assert.equal(reported.warned(/result not written to its object/).length, 1);
});

test("a file has its sidecar beside it, without versions: the later label stays", async () => {
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1, outputRoots: [pipeline.folder] }, { models: ["tiny-image"] });
  const folder = join(pipeline.folder, "in put");
  await mkdir(folder);
  const path = join(folder, "x#1.png");
  await copyFile(IMAGE, path);
  const items = [{ image: pathToFileURL(path).href }];
  for (let i = 0; i < 2; i += 1) {
    const { run, ended } = await submitSingle(pipeline, { model: "tiny-image", items, results: SIDECAR });
    assert.equal((await ended).errors, 0);
    assert.equal(SidecarSchema.parse(JSON.parse(await readFile(`${path}.labels.json`, "utf8"))).run, run);
  }
});

test("an outage of the store of a sidecar makes the job wait, and uses no attempt", {
  skip,
  timeout: 120_000,
}, async () => {
  await using pipeline = await TestPipeline.open();
  await using proxy = await FaultProxy.start(server.endpoint);
  const { settings, put, sidecar, uri } = await openBucket(pipeline);
  const fast = { tries: 2, delayMs: 1, maxDelayMs: 5 };
  await pipeline.worker(settings, { s3: { ...server.settings, endpoint: proxy.endpoint }, s3Limits: fast });
  const items = [{ textFile: uri("in/x.txt"), object: { etag: await put("in/x.txt", "good") } }];
  proxy.next("error", 30, { path: /labels\.json|aside|probe|list-type/ });
  const { run, ended } = await submitSingle(pipeline, {
    model: "tiny-sentiment",
    items,
    results: SIDECAR,
    attempts: 1,
  });
  assert.equal((await ended).failed, undefined);
  assert.equal((await sidecar("in/x.txt")).run, run);
  assert.ok(proxy.count("error") >= 10, `${proxy.count("error")} faults`);
});
