import assert from "node:assert/strict";
import { once } from "node:events";
import { watch } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { queueName, RESULTS_QUEUE } from "../../../src/schemas/names.ts";
import { type Row, RowSchema } from "../../../src/schemas/row.ts";
import { verdict } from "../../helpers/cli.ts";
import { type Upload, UploadBucket } from "../../helpers/inputs/uploads.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";

const PATH = "/v1/events/s3";
const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

async function openApi(bucket: UploadBucket): Promise<TestApi> {
  const match = { bucket: bucket.name, suffix: ".txt" };
  return TestApi.open({
    ...{ s3: server.settings, s3Roots: [`s3://${bucket.name}/`] },
    file: { rules: [{ name: "texts", match, kind: "text", model: "tiny-sentiment" }] },
  });
}

/** The rows of all parts, as soon as this many exist. */
async function rowsOf(api: TestApi, count: number): Promise<Row[]> {
  const folder = join(api.pipeline.folder, "output");
  const watcher = watch(folder);
  try {
    for (;;) {
      const change = once(watcher, "change");
      const names = (await readdir(folder)).filter((name) => name.startsWith("single-"));
      if (names.length < count) {
        await change;
        continue;
      }
      change.catch(() => {});
      const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
      return texts.flatMap((text) => text.trim().split("\n")).map((line) => RowSchema.parse(JSON.parse(line)));
    }
  } finally {
    watcher.close();
  }
}

/** The events on the results queue when no job is left. Each job publishes one; a job that runs again publishes another. */
async function publishedBy(api: TestApi): Promise<number> {
  const redis = await api.pipeline.connection();
  const { pin } = api.deps.models.default();
  const [jobs, results] = [queueName(pin, "interactive"), RESULTS_QUEUE].map((name) => openQueue(redis, name));
  for (;;) {
    const { waiting = 0, prioritized = 0, active = 0 } = await jobs!.getJobCounts("waiting", "prioritized", "active");
    if (waiting + prioritized + active === 0) break;
  }
  const count = await results!.getWaitingCount();
  await Promise.all([jobs!.close(), results!.close()]);
  return count;
}

/** A shuffle that is the same in each run of the test. */
function shuffled<T>(items: readonly T[]): T[] {
  let state = 1;
  const next = () => {
    state = (state * 48_271) % 2_147_483_647;
    return state;
  };
  return items
    .map((item) => [next(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}

test("5,000 repeated and reordered events: each version is labeled once", { timeout: 240_000 }, async () => {
  const bucket = await UploadBucket.make(server.endpoint, true);
  await using api = await openApi(bucket);
  const texts = ["it was great", "it was awful", "it was great again"];
  const uploads: Upload[] = [];
  for (const text of texts)
    uploads.push(
      ...(await Promise.all(
        Array.from({ length: 100 }, (_, i) => bucket.put(`${i % 7}/text ${i}.txt`, `${text} ${i}`)),
      )),
    );
  const versions = uploads.length;
  assert.ok(uploads.every(({ versionId }) => versionId !== undefined));
  const events = shuffled(Array.from({ length: 17 }, () => uploads).flat());
  assert.ok(events.length >= 5000);
  const bodies = Array.from({ length: Math.ceil(events.length / 12) }, (_, i) =>
    bucket.notification(...events.slice(i * 12, i * 12 + 12)),
  );
  const send = async () => {
    for (let body = bodies.pop(); body; body = bodies.pop()) {
      const answer = await api.post(PATH, body);
      assert.deepEqual([answer.status, await answer.json()], [200, { accepted: body.Records.length, ignored: {} }]);
    }
  };
  await Promise.all(Array.from({ length: 8 }, send));
  const rows = await rowsOf(api, versions);
  assert.equal(rows.length, versions);
  const labels = rows.map(verdict).sort();
  const expected = [...Array(100).fill("NEGATIVE"), ...Array(200).fill("POSITIVE")];
  assert.deepEqual(labels, expected, "each row has the label of its own version");
  assert.equal(await publishedBy(api), versions);
  bucket.close();
});

test("without versioning, an event of replaced content leaves the work to the newer one", async () => {
  const bucket = await UploadBucket.make(server.endpoint);
  await using api = await openApi(bucket);
  const older = await bucket.put("a.txt", "it was awful");
  const newer = await bucket.put("a.txt", "it was great");
  assert.notEqual(older.etag, newer.etag);
  for (const upload of [newer, older, newer, older])
    assert.equal((await api.post(PATH, bucket.notification(upload))).status, 200);
  const rows = await rowsOf(api, 2);
  assert.deepEqual(rows.map(verdict).sort(), ["INPUT_CHANGED", "POSITIVE"]);
  bucket.close();
});
