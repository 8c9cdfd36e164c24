import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openBucketEvents } from "../../../src/events/open-events.ts";
import { AcceptingSink } from "../../../src/events/sink.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { OTHER_SIGNER, signed, startSns, type TestSns, TOPIC } from "../../helpers/servers/sns.ts";

const PATH = "/v1/events/s3";
const NOTIFICATION = readFileSync(new URL("../../fixtures/events/minio.json", import.meta.url), "utf8");
const rules = [{ name: "photos", match: { bucket: "uploads" }, kind: "image", model: "tiny-image" }];

/** A server that needs keys, and gets certificates from a server in the place of SNS. */
async function openApi(t: TestContext): Promise<{ api: TestApi; sns: TestSns }> {
  const sns = await startSns();
  const api = await TestApi.open({
    ...{ models: ["tiny-image"], worker: false, file: { rules }, keys: { uploads: ["submit"] } },
    settings: { snsTopics: [TOPIC] },
  });
  const open = new AsyncDisposableStack();
  const { deps } = api;
  const { accepter, store, models } = deps;
  deps.events = openBucketEvents(
    {
      ...{ ...deps, stores: [store.uri], model: (name) => models.find(name), checkTargets: () => {} },
      sink: new AcceptingSink({ ...deps, accepter, output: store.uri }),
      fetchSns: (url) => sns.fetch(url),
    },
    open,
  );
  t.after(async () => {
    await open.disposeAsync();
    await api[Symbol.asyncDispose]();
    await sns[Symbol.asyncDispose]();
  });
  return { api, sns };
}

/** Sends a message as SNS does: JSON as plain text, without a key. */
function send(api: TestApi, message: Record<string, string>): Promise<Response> {
  const headers = { "content-type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message.Type ?? "" };
  return api.fetch(PATH, { method: "POST", headers, body: JSON.stringify(message) });
}

async function accepted(api: TestApi): Promise<number> {
  const folder = join(api.pipeline.folder, "output", "_accepted");
  return (await readdir(folder).catch(() => [])).length;
}

const codeOf = async (answer: Response) => [answer.status, ((await answer.json()) as { code: string }).code];

test("a signed message needs no key, and is accepted once", async (t) => {
  const { api } = await openApi(t);
  const message = signed({ Message: NOTIFICATION, Subject: "Amazon S3 Notification" });
  const answer = await send(api, message);
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { accepted: 1, ignored: {} });
  assert.deepEqual(await codeOf(await send(api, message)), [403, "EVENT_REPLAYED"]);
  // The same event in another message names the same version.
  assert.equal((await send(api, signed({ Message: NOTIFICATION, MessageId: "another" }))).status, 200);
  assert.equal(await accepted(api), 1);
});

test("an unsigned, changed, foreign or old message is refused with 403, and nothing is queued", async (t) => {
  const { api, sns } = await openApi(t);
  const right = signed({ Message: NOTIFICATION });
  const unsigned = [403, "EVENT_UNSIGNED"];
  const { Signature: _, ...without } = right;
  for (const message of [
    without,
    { ...right, Message: NOTIFICATION.replaceAll("tiger", "lion") },
    signed({ Message: NOTIFICATION }, OTHER_SIGNER),
    signed({ Message: NOTIFICATION, TopicArn: `${TOPIC}-of-another` }),
    signed({ Message: NOTIFICATION, SigningCertURL: "https://evil.example/SimpleNotificationService-1.pem" }),
    { Type: "Notification", ...(JSON.parse(NOTIFICATION) as Record<string, string>) },
  ])
    assert.deepEqual(await codeOf(await send(api, message as Record<string, string>)), unsigned);
  const old = new Date(Date.now() - 66 * 60_000).toISOString();
  assert.deepEqual(await codeOf(await send(api, signed({ Message: NOTIFICATION, Timestamp: old }))), [
    403,
    "EVENT_REPLAYED",
  ]);
  // A key does not replace the signature of a message that claims to be of SNS.
  assert.deepEqual(await codeOf(await api.post(PATH, without, api.as("uploads"))), unsigned);
  assert.deepEqual(await codeOf(await api.post(PATH, right, {})), [401, "UNAUTHORIZED"]);
  assert.equal(await accepted(api), 0);
  assert.ok(sns.requests.every((path) => path.startsWith("/SimpleNotificationService-")));
});

test("a subscription is confirmed for a configured topic only", async (t) => {
  const { api, sns } = await openApi(t);
  const confirm = (TopicArn: string) => {
    const query = new URLSearchParams({ Action: "ConfirmSubscription", TopicArn, Token: "t0ken" });
    const SubscribeURL = `https://sns.eu-central-1.amazonaws.com/?${query}`;
    return send(
      api,
      signed({ Type: "SubscriptionConfirmation", Token: "t0ken", TopicArn, SubscribeURL, Message: "m" }),
    );
  };
  assert.deepEqual(await codeOf(await confirm(`${TOPIC}-of-another`)), [403, "EVENT_UNSIGNED"]);
  assert.equal(sns.requests.length, 0);
  const answer = await confirm(TOPIC);
  assert.deepEqual(await answer.json(), { accepted: 0, ignored: { "a confirmed subscription": 1 } });
  assert.equal(sns.requests.filter((path) => path.includes("ConfirmSubscription")).length, 1);
});

test("a message that was not accepted may come again", async (t) => {
  const { api, sns } = await openApi(t);
  const { answer } = sns;
  const message = signed({ Message: NOTIFICATION });
  sns.answer = () => ({ status: 500, body: "" });
  assert.deepEqual(await codeOf(await send(api, message)), [503, "FETCH_UNAVAILABLE"]);
  sns.answer = answer;
  assert.equal((await send(api, message)).status, 200);
  assert.equal(await accepted(api), 1);
});

test("a message with no known event is refused, and its form is in the answer", async (t) => {
  const { api } = await openApi(t);
  for (const Message of ["hello", "{}", '{"Records":[{}]}'])
    assert.deepEqual(await codeOf(await send(api, signed({ Message }))), [400, "EVENT_INVALID"]);
  const headers = { "content-type": "text/plain", "x-amz-sns-message-type": "Notification" };
  const broken = await api.fetch(PATH, { method: "POST", headers, body: "{" });
  assert.deepEqual(await codeOf(broken), [400, "EVENT_INVALID"]);
  assert.equal(await accepted(api), 0);
});
