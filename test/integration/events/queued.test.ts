import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { BucketEvents } from "../../../src/events/bucket-events.ts";
import { type AcceptedObject, EventHandler } from "../../../src/events/handle-events.ts";
import { RuleSet } from "../../../src/events/rules.ts";
import { Sns } from "../../../src/events/sns.ts";
import { createLogger } from "../../../src/logger.ts";
import { RuleSchema } from "../../../src/schemas/enrichment/rule.ts";
import { OTHER_SIGNER, signed, startSns, type TestSns, TOPIC } from "../../helpers/servers/sns.ts";

const fixture = (name: string) => readFileSync(new URL(`../../fixtures/events/${name}.json`, import.meta.url), "utf8");

/** Receives messages of a queue, and lists the objects that it accepts. */
function eventsOf(server: TestSns) {
  const rule = RuleSchema.parse({ name: "all", match: { bucket: "uploads" }, kind: "image", model: "tiny-image" });
  const pin = {
    id: "tiny-image",
    revision: "r",
    digest: "a".repeat(64),
    dtype: "fp32",
    task: "image-classification" as const,
  };
  const rules = new RuleSet([rule], {
    stores: ["s3://labels/"],
    checkTargets: () => {},
    model: () => ({ pin, labels: 10 }),
  });
  const objects: AcceptedObject[] = [];
  const take = async (accepted: AcceptedObject) => {
    objects.push(accepted);
    return undefined;
  };
  const log = createLogger("silent", false);
  const replays = {
    has: async () => assert.fail("a queue may give a message twice"),
    add: async () => {},
  };
  const s3 = { head: async () => assert.fail("all events have versions") };
  const events = new BucketEvents({
    handler: new EventHandler({ rules, secret: "secret", sink: { item: take, table: take }, s3, log }),
    sns: new Sns({ topics: [TOPIC], fetch: (url) => server.fetch(url), replays }),
    ...{ models: [pin], log },
  });
  return { events, objects };
}

test("a queue has notifications of S3, events of EventBridge, and both in messages of SNS", async () => {
  await using server = await startSns();
  const { events, objects } = eventsOf(server);
  for (const name of ["s3", "event-bridge"]) {
    await events.receiveQueued(fixture(name));
    await events.receiveQueued(JSON.stringify(signed({ Message: fixture(name) })));
  }
  assert.deepEqual(
    objects.map(({ uri }) => uri.slice(-10)),
    ["%C3%BC.jpg", "%C3%BC.jpg", "%20100%25.jpg".slice(-10), "%20100%25.jpg".slice(-10)],
  );
  assert.equal(new Set(objects.map(({ run }) => run)).size, 2);
});

test("a message of SNS in a queue is verified, and may be days old", async () => {
  await using server = await startSns();
  const { events, objects } = eventsOf(server);
  const Message = fixture("s3");
  const Timestamp = new Date(Date.now() - 13 * 86_400_000).toISOString();
  const old = JSON.stringify(signed({ Message, Timestamp }));
  await events.receiveQueued(old);
  await events.receiveQueued(old);
  assert.equal(objects.length, 2);
  const unsigned = { code: "EVENT_UNSIGNED" };
  await assert.rejects(events.receiveQueued(JSON.stringify(signed({ Message }, OTHER_SIGNER))), unsigned);
  await assert.rejects(events.receiveQueued(JSON.stringify(signed({ Message, TopicArn: `${TOPIC}-2` }))), unsigned);
  for (const text of ["", "hello", "{}", JSON.stringify(signed({ Message: "{}" }))])
    await assert.rejects(events.receiveQueued(text), { code: "EVENT_INVALID" }, text);
  assert.equal(objects.length, 2);
});
