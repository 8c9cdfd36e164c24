import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { readManifest } from "../../../src/outputs/output.ts";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import { type RunRequest, TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";
import { FaultProxy } from "../../helpers/servers/fault-proxy.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";

const MODEL = "tiny-sentiment";
const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

test("an S3 server that answers 500 and 503, resets and cuts connections, and reports wrong results of puts: nothing lost, nothing doubled", async () => {
  await using pipeline = await TestPipeline.open();
  await using proxy = await FaultProxy.start(server.endpoint);
  const bucket = await server.makeBucket();
  const settings = { ...server.settings, endpoint: proxy.endpoint };
  for (let worker = 0; worker < 2; worker++)
    await pipeline.worker({ threads: 1 }, { s3: settings, roots: { files: [], s3: [`s3://${bucket}`] } });
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 3_000);
  proxy.failRandomly(["error", "slow-down", "reset", "cut", "lie", "lost"], 0.3, 7);
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

test("an outage of S3 longer than all attempts of a request: the slices are retried, and the run succeeds", async () => {
  await using pipeline = await TestPipeline.open();
  await using proxy = await FaultProxy.start(server.endpoint);
  const bucket = await server.makeBucket();
  const worker = { s3: { ...server.settings, endpoint: proxy.endpoint }, roots: { files: [], s3: [`s3://${bucket}`] } };
  await pipeline.worker({ threads: 1 }, worker);
  const path = await writeTexts(join(pipeline.folder, "texts.csv"), 200);
  // A request has six attempts: the first two attempts of both slices fail.
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

/**
 * An input of `rows` rows on S3, a run of it in splits to be planned by workers, and the options of a worker that
 * plans.
 */
async function submitOnS3(pipeline: TestPipeline, rows: string[], request: Partial<RunRequest> = {}) {
  const bucket = await server.makeBucket();
  const s3 = new S3(server.settings);
  pipeline.defer(() => s3.close());
  const inputs = await S3Store.open(s3, `s3://${bucket}/in/`);
  await inputs.put("rows.jsonl", Buffer.from(rows.join("")));
  const { endpoint, region, pathStyle } = server.settings;
  const { store, runFile } = await pipeline.submit(
    {
      kind: "text",
      path: `${inputs.uri}rows.jsonl`,
      model: MODEL,
      out: `s3://${bucket}/out/`,
      travels: "split",
      ...request,
    },
    { sliceItems: 100, s3Endpoint: endpoint, s3Region: region, s3PathStyle: pathStyle },
  );
  const worker = { plan: planFromRunFile, s3: server.settings, roots: { files: [], s3: [`s3://${bucket}`] } };
  return { store, run: runFile.run, inputs, worker };
}

const rowsOf = (count: number) =>
  Array.from({ length: count }, (_, i) => `${JSON.stringify({ text: i % 50 === 7 ? "" : `good ${i}`, n: i })}\n`);

test("a run whose input, plan, parts and files are on S3 is planned by a worker, compacted to Parquet and verified, within a number of requests", async () => {
  await using pipeline = await TestPipeline.open();
  const { store, run, worker } = await submitOnS3(pipeline, rowsOf(1_000), {
    output: { format: "parquet", errors: "apart" },
    keep: ["n"],
    settings: { pricePerHour: 3.6 },
  });
  await pipeline.worker({ threads: 1 }, worker);
  assert.equal(await pipeline.ended(run), "finished_with_errors");
  const { problems, totals } = await verifyOutput(store);
  assert.deepEqual(problems, []);
  assert.deepEqual(totals, { parts: 10, planned: 1_000, labeled: 980, errors: 20 });
  const keys = (await Array.fromAsync(store.list(""))).map(({ key }) => key);
  assert.equal(keys.filter((key) => /^(_errors\/)?data-.*\.parquet$/.test(key)).length, 2, keys.join());
  const { timings, cost } = (await readManifest(store))!;
  const total = (3.6 * timings!.seconds) / 3600;
  assert.deepEqual(cost, { pricePerHour: 3.6, total, perMillionItems: (total / 1_000) * 1e6 });
});

test("an object that is replaced during a run: the slices that are not read yet fail with INPUT_CHANGED, which names it", async () => {
  await using pipeline = await TestPipeline.open();
  const { store, run, inputs, worker } = await submitOnS3(pipeline, rowsOf(1_000));
  let replaced = false;
  await pipeline.worker(
    { threads: 1, concurrency: 1 },
    {
      ...worker,
      around: ({ steps, label }) => ({
        steps,
        label: async (...all) => {
          if (!replaced) await inputs.put("rows.jsonl", Buffer.from(rowsOf(1_000).reverse().join("")));
          replaced = true;
          return label(...all);
        },
      }),
    },
  );
  assert.equal(await pipeline.ended(run), "failed");
  const { failed, failedSlices, totals } = (await readManifest(store))!;
  assert.ok(totals.labeled > 0 && failedSlices > 0, `${totals.labeled} labeled, ${failedSlices} slices failed`);
  for (const { code, message } of failed) {
    assert.equal(code, "INPUT_CHANGED");
    assert.match(message, /in\/rows\.jsonl/);
  }
});
