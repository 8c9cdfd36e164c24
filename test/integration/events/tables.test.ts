import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { ManifestSchema } from "../../../src/schemas/manifest.ts";
import { RunFileSchema } from "../../../src/schemas/run.ts";
import { UploadBucket } from "../../helpers/inputs/uploads.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";

const PATH = "/v1/events/s3";
const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

const endpoint = {
  name: "crm",
  url: "https://example.com/hook",
  secrets: [`whsec_${Buffer.alloc(24).toString("base64")}`],
};

/** A server whose rule labels the column `review` of CSV files. */
async function setUp(options: { output?: string } = {}, s3Roots: string[] = []) {
  const bucket = await UploadBucket.make(server.endpoint);
  const match = { bucket: bucket.name, suffix: ".csv" };
  const results = [{ to: "webhook", endpoint: "crm" }];
  const rule = {
    name: "reviews",
    results,
    match,
    kind: "table",
    model: "tiny-sentiment",
    column: "review",
    ...options,
  };
  const api = await TestApi.open({
    ...{
      s3: server.settings,
      s3Roots: [`s3://${bucket.name}/`, ...s3Roots],
      file: { rules: [rule], webhooks: [endpoint] },
    },
  });
  return { bucket, api };
}

type Handled = { accepted: number; ignored: Record<string, number> };

async function send(api: TestApi, body: unknown): Promise<Handled> {
  const answer = await api.post(PATH, body);
  assert.equal(answer.status, 200);
  return (await answer.json()) as Handled;
}

/** The runs of an output: each has a folder with its id. */
async function runsIn(folder: string): Promise<string[]> {
  return (await readdir(folder)).filter((name) => /^[0-9a-f]{16}$/.test(name));
}

test("a table becomes one run of its rows, however often its event comes", async () => {
  const { bucket, api } = await setUp();
  await using _ = api;
  const lines = Array.from({ length: 50 }, (_, i) => `${i},it was ${i % 2 ? "great" : "awful"} ${i}`);
  // In the name of an input, a star is a pattern: here it is part of a key.
  const upload = await bucket.put("2026/all * reviews.csv", `id,review\n${lines.join("\n")}\n`);
  await bucket.put("2026/all other reviews.csv", "id,review\n1,must not be read\n");
  const body = bucket.notification(upload);
  const sent = await Promise.all([send(api, body), send(api, body), send(api, body)]);
  assert.deepEqual(sent, Array(3).fill({ accepted: 1, ignored: {} }));
  const folder = join(api.pipeline.folder, "output");
  const [run = assert.fail(), ...others] = await runsIn(folder);
  assert.deepEqual(others, []);
  assert.equal(await api.pipeline.ended(run), "succeeded");
  assert.deepEqual(await send(api, body), { accepted: 1, ignored: {} });
  assert.deepEqual(await runsIn(folder), [run]);
  const manifest = ManifestSchema.parse(JSON.parse(await readFile(join(folder, run, "_manifest.json"), "utf8")));
  assert.deepEqual([manifest.run, manifest.totals.labeled, manifest.totals.errors], [run, 50, 0]);
  assert.deepEqual(manifest.labels, { NEGATIVE: 25, POSITIVE: 25 });
  const runFile = RunFileSchema.parse(JSON.parse(await readFile(join(folder, run, "_run.json"), "utf8")));
  assert.deepEqual(runFile.settings.results, [{ to: "webhook", endpoint: "crm" }]);
  assert.equal((await api.deps.runIndex.get(run))?.owner, "rule:reviews");
  bucket.close();
});

test("an event of replaced content is left to the newer one, and a table that cannot be read is reported", async () => {
  const { bucket, api } = await setUp();
  await using _ = api;
  const older = await bucket.put("a.csv", "id,review\n1,old\n");
  const newer = await bucket.put("a.csv", "id,review\n1,new\n2,newer\n");
  assert.deepEqual(await send(api, bucket.notification(newer, older)), { accepted: 1, ignored: { replaced: 1 } });
  const other = await bucket.put("b.csv", "id,comment\n1,none\n");
  const empty = await bucket.put("c.csv", "");
  const missing = { ...older, key: "d.csv" };
  assert.deepEqual(await send(api, bucket.notification(other, empty, missing)), {
    accepted: 0,
    ignored: { COLUMN_NOT_FOUND: 1, INPUT_EMPTY: 1, missing: 1 },
  });
  assert.equal((await runsIn(join(api.pipeline.folder, "output"))).length, 1);
  bucket.close();
});

test("a rule has its own output on S3, whose objects are never labeled", async () => {
  const labels = await UploadBucket.make(server.endpoint);
  const output = `s3://${labels.name}/reviews`;
  const { bucket, api } = await setUp({ output }, [output]);
  await using _ = api;
  const upload = await bucket.put("a.csv", "id,review\n1,it was great\n");
  assert.deepEqual(await send(api, bucket.notification(upload)), { accepted: 1, ignored: {} });
  const [run = assert.fail()] = (await api.deps.runIndex.list({ owner: "rule:reviews", limit: 2 })).runs.map(
    (each) => each.run,
  );
  assert.equal(await api.pipeline.ended(run), "succeeded");
  const manifest = await api.deps.s3.get({ bucket: labels.name, key: `reviews/${run}/_manifest.json` });
  assert.equal(ManifestSchema.parse(JSON.parse(Buffer.from(manifest).toString())).run, run);
  const own = labels.notification({ ...upload, key: `reviews/${run}/anything.csv` });
  assert.deepEqual(await send(api, own), { accepted: 0, ignored: { "own-output": 1 } });
  assert.deepEqual(await runsIn(join(api.pipeline.folder, "output")), []);
  bucket.close();
  labels.close();
});

test("an output that no worker was granted makes the sender try again", async () => {
  const labels = await UploadBucket.make(server.endpoint);
  const { bucket, api } = await setUp({ output: `s3://${labels.name}/reviews/` });
  await using _ = api;
  const answer = await api.post(PATH, bucket.notification(await bucket.put("a.csv", "id,review\n1,good\n")));
  assert.equal(answer.status, 503);
  assert.equal(((await answer.json()) as { code: string }).code, "NOT_GRANTED");
  bucket.close();
  labels.close();
});
