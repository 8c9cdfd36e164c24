import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSnsEnvelope } from "../../../src/events/parse/sns-envelope.ts";
import { RedisReplays } from "../../../src/events/replays.ts";
import { Sns, type SnsOptions } from "../../../src/events/sns.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";
import { OTHER_SIGNER, SIGNER, signed, startSns, type TestSns, TOPIC } from "../../helpers/servers/sns.ts";

const unsigned = { code: "EVENT_UNSIGNED" };
const replayed = { code: "EVENT_REPLAYED" };
const MINUTE = 60_000;

function snsOf(server: TestSns, options: Partial<SnsOptions> = {}): Sns {
  const replays = { has: async () => false, add: async () => {} };
  return new Sns({ topics: [TOPIC], fetch: (url) => server.fetch(url), replays, ...options });
}

const envelope = (fields: Record<string, string | undefined> = {}, signer = SIGNER) =>
  parseSnsEnvelope(signed({ Message: "one\ntwo", ...fields }, signer));

test("both versions of signatures are verified, with and without a subject", async () => {
  await using server = await startSns();
  const sns = snsOf(server);
  for (const SignatureVersion of ["1", "2"]) {
    await sns.verify(envelope({ SignatureVersion }));
    await sns.verify(envelope({ SignatureVersion, Subject: "Amazon S3 Notification" }));
  }
  assert.equal(server.requests.length, 1, "the certificate is fetched once");
});

test("a message that was changed, is not signed, or is signed by another key is refused", async () => {
  await using server = await startSns();
  const sns = snsOf(server);
  const right = signed({ Message: "hello", Subject: "a" });
  const changes: Record<string, string | undefined>[] = [
    ...["Message", "MessageId", "Subject"].map((name) => ({ [name]: "changed" })),
    { Timestamp: "2026-01-01T00:00:00.000Z" },
    { Subject: undefined },
    { Signature: undefined },
    { Signature: "" },
    { Signature: Buffer.alloc(256).toString("base64") },
    { SignatureVersion: undefined },
    { SignatureVersion: "1" },
    { SignatureVersion: "3" },
    { SigningCertURL: undefined },
  ];
  for (const change of changes) {
    const { ...copy } = JSON.parse(JSON.stringify({ ...right, ...change }));
    await assert.rejects(sns.verify(parseSnsEnvelope(copy)), unsigned, JSON.stringify(change));
  }
  await assert.rejects(sns.verify(envelope({}, OTHER_SIGNER)), unsigned);
  await sns.verify(parseSnsEnvelope(right));
});

test("a certificate is fetched only from the host of SNS in the region of a configured topic", async () => {
  await using server = await startSns();
  const sns = snsOf(server);
  const path = "/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem";
  const urls = [
    `http://sns.eu-central-1.amazonaws.com${path}`,
    `https://sns.us-east-1.amazonaws.com${path}`,
    `https://sns.eu-central-1.amazonaws.com.evil.example${path}`,
    `https://evil.example/sns.eu-central-1.amazonaws.com${path}`,
    `https://sns.eu-central-1.amazonaws.com@evil.example${path}`,
    `https://user:password@sns.eu-central-1.amazonaws.com${path}`,
    `https://sns.eu-central-1.amazonaws.com:8443${path}`,
    `https://sns.eu-central-1.amazonaws.com.cn${path}`,
    `https://sns.eu-central-1.amazonaws.com${path}?Action=ListTopics`,
    "https://sns.eu-central-1.amazonaws.com/other.pem",
    `https://s3.eu-central-1.amazonaws.com${path}`,
    "https://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "",
    "not a URL",
  ];
  for (const SigningCertURL of urls)
    await assert.rejects(sns.verify(envelope({ SigningCertURL })), unsigned, SigningCertURL);
  const TopicArn = "arn:aws:sns:eu-central-1:999999999999:uploads";
  await assert.rejects(sns.verify(envelope({ TopicArn })), unsigned, "a topic that is not configured");
  assert.deepEqual(server.requests, []);
});

test("a topic in China has its own host", async () => {
  await using server = await startSns();
  const TopicArn = "arn:aws-cn:sns:cn-north-1:111122223333:uploads";
  const SigningCertURL = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-9c.pem";
  await snsOf(server, { topics: [TopicArn] }).verify(envelope({ TopicArn, SigningCertURL }));
});

test("a certificate that is not valid at the time of the message, missing or no certificate is refused", async () => {
  await using server = await startSns();
  await assert.rejects(snsOf(server).verify(envelope({ Timestamp: "2001-01-01T00:00:00.000Z" })), unsigned);
  server.answer = () => ({ status: 200, body: "hello" });
  await assert.rejects(snsOf(server).verify(envelope()), unsigned);
  server.answer = () => ({ status: 404, body: "" });
  const sns = snsOf(server);
  const before = server.requests.length;
  for (let i = 0; i < 3; i++) await assert.rejects(sns.verify(envelope()), unsigned);
  assert.equal(server.requests.length, before + 1, "a missing certificate is requested once");
});

test("an outage of SNS is retryable, and the certificate is fetched again", async () => {
  await using server = await startSns();
  const sns = snsOf(server);
  const { answer } = server;
  server.answer = () => ({ status: 503, body: "" });
  await assert.rejects(sns.verify(envelope()), { code: "FETCH_UNAVAILABLE", retryable: true });
  server.answer = answer;
  await sns.verify(envelope());
  assert.equal(server.requests.length, 2);
});

test("the number of kept certificates is bounded, and invented addresses drop none", async () => {
  await using server = await startSns();
  const sns = snsOf(server);
  const verify = (number: number) => {
    const name = `SimpleNotificationService-${number.toString(16)}.pem`;
    return sns.verify(envelope({ SigningCertURL: `https://sns.eu-central-1.amazonaws.com/${name}` }));
  };
  for (let number = 0; number <= 100; number++) await verify(number);
  await verify(100);
  assert.equal(server.requests.length, 101);
  await verify(0);
  assert.equal(server.requests.length, 102);
  const { answer } = server;
  server.answer = () => ({ status: 404, body: "" });
  for (let number = 1000; number < 1150; number++) await assert.rejects(verify(number), unsigned);
  await assert.rejects(verify(1000), unsigned);
  assert.equal(server.requests.length, 252);
  server.answer = answer;
  await verify(0);
  await verify(100);
  assert.equal(server.requests.length, 252);
});

test("callers cannot make fetches wait without bound", async () => {
  const { promise: answer, resolve } = Promise.withResolvers<void>();
  await using server = await startSns();
  const fetch = async (url: URL) => {
    await answer;
    return server.fetch(url);
  };
  const sns = snsOf(server, { fetch });
  const url = (number: number) =>
    `https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-${number.toString(16)}.pem`;
  const all = Array.from({ length: 40 }, (_, i) => sns.verify(envelope({ SigningCertURL: url(i) })));
  const ends = Promise.allSettled(all);
  resolve();
  const refused = (await ends).flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  assert.equal(refused.length, 40 - 24, "four fetches and twenty that wait");
  assert.ok(refused.every(({ code }) => code === "FETCH_UNAVAILABLE"));
});

test("an accepted message is refused when it is sent again, an old one and one of the future always", async () => {
  await using server = await startSns();
  await using redis = await startTestRedis();
  const connection = await openRedis(redis.address, "producer");
  try {
    let now = Date.now();
    const sns = snsOf(server, { replays: new RedisReplays(connection), now: () => now });
    const message = envelope();
    await sns.checkFresh(message);
    await sns.checkFresh(message);
    await sns.remember(message);
    await assert.rejects(sns.checkFresh(message), replayed);
    await sns.checkFresh(envelope({ MessageId: "another" }));
    const [key] = await connection.keys("*received*");
    const left = await connection.pttl(key!);
    assert.ok(left > 65 * MINUTE, "it is remembered until it is too old");
    const sent = Date.parse(message.Timestamp);
    for (const [at, isFresh] of [
      [sent + 64 * MINUTE, true],
      [sent + 66 * MINUTE, false],
      [sent - 4 * MINUTE, true],
      [sent - 6 * MINUTE, false],
    ] as const) {
      now = at;
      const check = sns.checkFresh({ ...message, MessageId: "a third" });
      if (isFresh) await check;
      else await assert.rejects(check, replayed);
    }
  } finally {
    connection.disconnect();
  }
});

test("a subscription is confirmed at the host of SNS, for its own topic and token only", async () => {
  await using server = await startSns();
  const sns = snsOf(server);
  const Token = "2336412f37";
  const urlOf = (change: Record<string, string> = {}, origin = "https://sns.eu-central-1.amazonaws.com/") =>
    `${origin}?${new URLSearchParams({ Action: "ConfirmSubscription", TopicArn: TOPIC, Token, ...change })}`;
  const confirmation = (SubscribeURL: string) => {
    const message = envelope({ Type: "SubscriptionConfirmation", Token, SubscribeURL });
    assert.equal(message.Type, "SubscriptionConfirmation");
    return message;
  };
  const right = confirmation(urlOf());
  await sns.verify(right);
  await sns.confirm(right);
  assert.equal(server.requests.at(-1), new URL(urlOf()).search.replace(/^/, "/"));
  const before = server.requests.length;
  for (const url of [
    urlOf({ Action: "DeleteTopic" }),
    urlOf({ TopicArn: `${TOPIC}-2` }),
    urlOf({ Token: "another" }),
    urlOf({}, "http://sns.eu-central-1.amazonaws.com/"),
    urlOf({}, "https://sns.us-east-1.amazonaws.com/"),
    urlOf({}, "https://evil.example/"),
    urlOf({}, "https://sns.eu-central-1.amazonaws.com/path"),
    "hello",
  ])
    await assert.rejects(sns.confirm(confirmation(url)), unsigned, url);
  assert.equal(server.requests.length, before);
  server.answer = () => ({ status: 500, body: "" });
  await assert.rejects(sns.confirm(right), { code: "FETCH_UNAVAILABLE" });
});
