import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { AcceptedSchema } from "../../../src/schemas/enrichment/accepted.ts";
import { TestApi, type TestApiOptions } from "../../helpers/servers/api.ts";

const PATH = "/v1/events/s3";
const rules = [
  { name: "photos", match: { bucket: "uploads", prefix: "photos/" }, kind: "image", model: "tiny-image" },
  { name: "texts", match: { bucket: "uploads", prefix: "texts/" }, kind: "text", model: "tiny-sentiment" },
];

function fixture(name: string): string {
  return readFileSync(new URL(`../../fixtures/events/${name}.json`, import.meta.url), "utf8");
}

/** A server with rules and without a worker: what it accepts stays in its journal. */
function openApi(options: TestApiOptions = {}): Promise<TestApi> {
  return TestApi.open({ models: ["tiny-image", "tiny-sentiment"], worker: false, file: { rules }, ...options });
}

/** The accepted submissions. */
async function journal(api: TestApi) {
  const folder = join(api.pipeline.folder, "output", "_accepted");
  const names = await readdir(folder).catch(() => []);
  const records = await Promise.all(names.map(async (name) => JSON.parse(await readFile(join(folder, name), "utf8"))));
  return records.map((record) => AcceptedSchema.parse(record));
}

async function problemOf(answer: Response): Promise<[status: number, code: string]> {
  assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/);
  const { status, code } = (await answer.json()) as { status: number; code: string };
  assert.equal(status, answer.status);
  return [status, code];
}

test("events of all senders are accepted, once for each version", async () => {
  await using api = await openApi();
  const json = { "content-type": "application/json" };
  const cloudEvents = { "content-type": "application/cloudevents+json; charset=utf-8" };
  const sent: [string, Record<string, string>, number][] = [
    ["s3", json, 1],
    ["minio", json, 1],
    ["rustfs", json, 1],
    ["event-bridge", json, 1],
    ["seaweedfs", json, 1],
    ["cloud-event-s3", cloudEvents, 1],
    ["cloud-event-google", cloudEvents, 1],
    ["s3-test", json, 0],
    ["cloud-event-azure", cloudEvents, 0],
  ];
  for (const times of [1, 2])
    for (const [name, headers, accepted] of sent) {
      const answer = await api.fetch(PATH, { method: "POST", headers, body: fixture(name) });
      assert.equal(answer.status, 200, `${name} (${times})`);
      const body = (await answer.json()) as { accepted: number; ignored: Record<string, number> };
      assert.equal(body.accepted, accepted, name);
    }
  const records = await journal(api);
  const items = records.map((record) => {
    assert.equal(record.kind, "single");
    const { owner, job } = record as Extract<typeof record, { kind: "single" }>;
    const { image, textFile, object } = job.items![0]!;
    return [owner, image ?? textFile, object?.versionId ?? object?.etag].join(" ");
  });
  // The two CloudEvents are of the same key and content.
  assert.deepEqual(items.sort(), [
    "rule:photos s3://uploads/photos/red%20flower%20&%20100%25%20+%20%C3%BC.jpg 096fKKXTRTtl3on89fVO.nfljtsv6qko",
    "rule:photos s3://uploads/photos/red%20flower%20+%20100%25.jpg IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
    "rule:photos s3://uploads/photos/red%20flower.jpg d41d8cd98f00b204e9800998ecf8427e",
    "rule:photos s3://uploads/photos/tiger%20at%20night.jpg 5fc7298143efe1276d39a3466d4e255f-2",
    "rule:photos s3://uploads/photos/tiger%20one.jpg d41d8cd98f00b204e9800998ecf8427e",
    "rule:texts s3://uploads/texts/review-7.txt 3f1a4b52-0c5d-4d53-9a4f-6f6d5d1f8a11",
  ]);
});

test("what is not labeled is counted by reason, also in binary mode and in a batch", async () => {
  await using api = await openApi();
  const s3 = await (await api.post(PATH, JSON.parse(fixture("s3")))).json();
  assert.deepEqual(s3, { accepted: 1, ignored: { removed: 1, unchanged: 1 } });
  const { data, ...attributes } = JSON.parse(fixture("cloud-event-s3"));
  const headers = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`ce-${name}`, String(value)]));
  assert.deepEqual(await (await api.post(PATH, data, headers)).json(), { accepted: 1, ignored: {} });
  const batch = [attributes, { ...attributes, type: "com.example.greeting" }].map((each) => ({ ...each, data }));
  const type = { "content-type": "application/cloudevents-batch+json" };
  const answer = await api.post(PATH, batch, type);
  assert.deepEqual(await answer.json(), { accepted: 1, ignored: { "a CloudEvent of an unknown type": 1 } });
});

test("malformed and unknown messages, other content types and large bodies are refused, nothing is queued", async () => {
  await using api = await openApi();
  const send = (body: string, type = "application/json", more: Record<string, string> = {}) =>
    api.fetch(PATH, { method: "POST", headers: { "content-type": type, ...more }, body });
  const invalid: [number, string] = [400, "EVENT_INVALID"];
  for (const body of ["{", "", "null", "[]x", "{}", '{"Records":7}', '{"Records":[{"eventVersion":"9.9"}]}', '"text"'])
    assert.deepEqual(await problemOf(await send(body)), invalid, body);
  for (const type of ["text/plain", "application/xml", "multipart/form-data"])
    assert.deepEqual(await problemOf(await send(fixture("s3"), type)), [415, "CONTENT_TYPE"], type);
  const large = JSON.stringify({ Records: ["x".repeat(1_000_001)] });
  assert.deepEqual(await problemOf(await send(large)), [413, "BODY_TOO_LARGE"]);
  assert.deepEqual(await journal(api), []);
});

test("a caller needs a key with the scope submit, sent as the senders send it", async () => {
  await using api = await openApi({ keys: { uploads: ["submit"], dashboard: ["read"] } });
  const body = JSON.parse(fixture("minio"));
  assert.deepEqual(await problemOf(await api.post(PATH, body)), [401, "UNAUTHORIZED"]);
  assert.deepEqual(await problemOf(await api.post(PATH, body, api.as("dashboard"))), [403, "FORBIDDEN"]);
  const raw = { "x-amz-sns-message-type": "Notification", "x-amz-sns-rawdelivery": "true" };
  assert.deepEqual(await problemOf(await api.post(PATH, body, raw)), [401, "UNAUTHORIZED"]);
  assert.deepEqual(await journal(api), []);
  const { key } = api.keys.get("uploads")!;
  const keyed: Record<string, string>[] = [
    { authorization: `Bearer ${key}` },
    { "x-api-key": key },
    { ...raw, "x-api-key": key },
  ];
  for (const headers of keyed) assert.equal((await api.post(PATH, body, headers)).status, 200);
  assert.equal((await journal(api)).length, 1);
});

test("the handshake of CloudEvents webhooks is answered", async () => {
  await using api = await openApi({ keys: { uploads: ["submit"] } });
  const options = (headers: Record<string, string>) => api.fetch(PATH, { method: "OPTIONS", headers });
  const answer = await options({ "webhook-request-origin": "eventgrid.azure.net" });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("webhook-allowed-origin"), "eventgrid.azure.net");
  assert.equal(answer.headers.get("webhook-allowed-rate"), "*");
  assert.deepEqual(await problemOf(await options({})), [400, "EVENT_INVALID"]);
  assert.deepEqual(await problemOf(await options({ "webhook-request-origin": "a b<c>" })), [400, "EVENT_INVALID"]);
});

test("while Redis is lost, the sender gets a 503 and the message is not half accepted twice", async () => {
  await using api = await openApi();
  await api.pipeline.redis.kill();
  const answer = await api.post(PATH, JSON.parse(fixture("minio")));
  assert.equal(answer.status, 503);
  assert.ok(Number(answer.headers.get("retry-after")) > 0);
  await api.pipeline.redis.restart();
  for (;;) {
    const again = await api.post(PATH, JSON.parse(fixture("minio")));
    if (again.status === 200) break;
    assert.equal(again.status, 503);
  }
  assert.equal((await journal(api)).length, 1);
});

test("while items wait for too long, the sender gets a 429 and repeats its message later", async () => {
  await using api = await openApi({ settings: { maxBacklogSeconds: 1 } });
  const records = Array.from({ length: 30 }, (_, i) => {
    const [record] = JSON.parse(fixture("minio")).Records;
    record.s3.object.key = `photos/${i}.jpg`;
    return record;
  });
  // No worker has measured the model, so ten items a second are assumed.
  assert.equal((await api.post(PATH, { Records: records })).status, 200);
  let answer = await api.post(PATH, JSON.parse(fixture("rustfs")));
  // The estimate is reused for a second.
  while (answer.status === 200) answer = await api.post(PATH, JSON.parse(fixture("rustfs")));
  const seconds = Number(answer.headers.get("retry-after"));
  assert.deepEqual(await problemOf(answer), [429, "BACKLOG_FULL"]);
  assert.ok(seconds >= 1 && seconds <= 600);
});

test("a rule that cannot work stops the start of the server", async () => {
  const file = { rules: [{ ...rules[0], model: "unknown" }] };
  await assert.rejects(openApi({ file }), {
    code: "CONFIG_INVALID",
    message: /rules: photos: expected a declared model/,
  });
  const escaping = { rules: [{ ...rules[0], output: "s3://labels/{key}/../../" }] };
  await assert.rejects(openApi({ file: escaping }), { code: "CONFIG_INVALID" });
});
