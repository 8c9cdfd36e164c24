import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { verifyOutput } from "../../src/runs/verify.ts";
import { S3 } from "../../src/storage/s3.ts";
import { S3Store } from "../../src/storage/s3-store.ts";
import { FaultProxy } from "../helpers/fault-proxy.ts";
import { TestPipeline, writeTexts } from "../helpers/pipeline.ts";
import { startTestS3 } from "../helpers/s3-server.ts";

const MODEL = "tiny-sentiment";
const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

test("an S3 server that answers 500 and 503, resets, cuts, and lies about puts: nothing lost, nothing doubled", async () => {
  await using pipeline = await TestPipeline.open();
  await using proxy = await FaultProxy.start(server.endpoint);
  const bucket = await server.makeBucket();
  const settings = { ...server.settings, endpoint: proxy.endpoint };
  for (let worker = 0; worker < 2; worker++)
    await pipeline.worker({ threads: 1 }, { s3: settings, roots: { files: [], s3: [`s3://${bucket}`] } });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 3_000);
  proxy.weather(["error", "slow-down", "reset", "cut", "lie", "lost"], 0.3, 7);
  const out = `s3://${bucket}/out/`;
  const { state } = await pipeline.run(
    { kind: "text", path, model: MODEL, out },
    { sliceItems: 100, s3Endpoint: settings.endpoint, s3Region: settings.region, s3PathStyle: settings.pathStyle },
  );
  assert.equal(state, "succeeded");
  for (const fault of ["error", "slow-down", "reset", "lie", "lost"] as const)
    assert.ok(proxy.count(fault) > 0, `${fault} happened`);
  const s3 = new S3(server.settings);
  const { ok, totals, problems } = await verifyOutput(await S3Store.open(s3, out));
  s3.close();
  assert.deepEqual(problems, []);
  assert.deepEqual({ ok, totals }, { ok: true, totals: { parts: 30, planned: 3_000, labeled: 3_000, errors: 0 } });
});

test("an outage of S3 that is longer than all tries of a request: the slices are tried again, and the run succeeds", async () => {
  await using pipeline = await TestPipeline.open();
  await using proxy = await FaultProxy.start(server.endpoint);
  const bucket = await server.makeBucket();
  const worker = { s3: { ...server.settings, endpoint: proxy.endpoint }, roots: { files: [], s3: [`s3://${bucket}`] } };
  await pipeline.worker({ threads: 1 }, worker);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 200);
  // Six tries a request, and twice that many requests: the second try of each slice fares no better.
  proxy.next("slow-down", 24, { method: "PUT", path: /part-/ });
  const { endpoint, region, pathStyle } = server.settings;
  const { state, store } = await pipeline.run(
    { kind: "text", path, model: MODEL, out: `s3://${bucket}/out/` },
    { sliceItems: 100, s3Endpoint: endpoint, s3Region: region, s3PathStyle: pathStyle },
  );
  assert.equal(state, "succeeded");
  assert.equal(proxy.count("slow-down"), 24);
  assert.ok((await verifyOutput(store)).ok);
});
