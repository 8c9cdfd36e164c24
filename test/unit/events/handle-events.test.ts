import assert from "node:assert/strict";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { type AcceptedObject, EventHandler, type HandlerDeps } from "../../../src/events/handle-events.ts";
import type { ObjectEvent } from "../../../src/events/parse/object-event.ts";
import { RuleSet } from "../../../src/events/rules.ts";
import { createLogger } from "../../../src/logger.ts";
import type { ObjectVersion } from "../../../src/schemas/enrichment/object.ts";
import { RuleSchema } from "../../../src/schemas/enrichment/rule.ts";
import type { ModelPin } from "../../../src/schemas/run.ts";
import { s3Uri } from "../../../src/storage/s3/uri.ts";

const pin = (task: ModelPin["task"]): ModelPin => ({
  ...{ id: task, task, revision: "r", digest: "a".repeat(64), dtype: "fp32" },
});
const rules = new RuleSet(
  [
    { name: "photos", match: { bucket: "uploads", suffix: ".jpg" }, kind: "image", model: "image" },
    { name: "texts", match: { bucket: "uploads", suffix: ".txt" }, kind: "text", model: "text" },
    { name: "tables", match: { bucket: "uploads", suffix: ".csv" }, kind: "table", model: "text" },
    { name: "blobs", match: { bucket: "host/container" }, kind: "image", model: "image" },
  ].map((rule) => RuleSchema.parse(rule)),
  {
    stores: ["s3://labels/"],
    model: (name) => ({ pin: pin(name === "image" ? "image-classification" : "text-classification"), labels: 2 }),
    checkTargets: () => {},
  },
);

/** A handler whose submissions a test sees, and may fail. `etags`: the current objects. */
function handlerOf(options: { etags?: Record<string, string>; fail?: (accepted: AcceptedObject) => unknown } = {}) {
  const submitted: AcceptedObject[] = [];
  const tables: AcceptedObject[] = [];
  const heads: string[] = [];
  const take = (list: AcceptedObject[]) => async (accepted: AcceptedObject) => {
    const error = options.fail?.(accepted);
    if (error) throw error;
    list.push(accepted);
    return undefined;
  };
  const deps: HandlerDeps = {
    rules,
    secret: "secret",
    sink: { item: take(submitted), table: take(tables) },
    s3: {
      async head({ key }) {
        heads.push(key);
        const etag = options.etags?.[key];
        if (etag === undefined) throw new LabelmillError("STORE_NOT_FOUND", "no such object");
        return { etag, size: 1, modifiedAt: new Date() };
      },
    },
    log: createLogger("silent", false),
  };
  return { handler: new EventHandler(deps), submitted, tables, heads };
}

function created(key: string, object: ObjectVersion = { etag: "e1" }, kind: ObjectEvent["kind"] = "created") {
  return { kind, name: "ObjectCreated:Put", uri: s3Uri({ bucket: "uploads", key }), bucket: "uploads", key, object };
}

const parsed = (...events: ObjectEvent[]) => ({ events, ignored: [] });

test("an object is submitted in the version of its event, for the owner of its rule", async () => {
  const { handler, submitted, heads } = handlerOf();
  const object = { versionId: "v1", etag: "e1", sequencer: "0A" };
  assert.deepEqual(await handler.handle(parsed(created("a b.jpg", object))), { accepted: 1, ignored: {} });
  const [{ rule, run, ...rest } = assert.fail()] = submitted;
  assert.deepEqual(rest, { owner: "rule:photos", uri: "s3://uploads/a%20b.jpg", object });
  assert.equal(rule.name, "photos");
  assert.match(run, /^[0-9a-f]{16}$/);
  assert.deepEqual(heads, []);
});

test("the id of a run follows from rule, object and version: repeated and reordered events have the same", async () => {
  const { handler, submitted } = handlerOf();
  const events = [
    created("a.jpg", { versionId: "v1", etag: "e1", sequencer: "01" }),
    created("a.jpg", { versionId: "v2", etag: "e1", sequencer: "02" }),
    created("b.jpg", { etag: "e1" }),
    created("b.jpg", { etag: "e2" }),
    created("a.txt", { etag: "e1" }),
  ];
  const all = [...events, ...events, ...events].reverse();
  for (const event of all) await handler.handle(parsed(event));
  const ids = new Set(submitted.map(({ run }) => run));
  assert.equal(submitted.length, all.length);
  assert.equal(ids.size, events.length);
  // The time and the sequencer of an event do not matter.
  await handler.handle(parsed(created("a.jpg", { versionId: "v1", etag: "other", sequencer: "FF" })));
  assert.ok(ids.has(submitted.at(-1)!.run));
});

test("an object that a message names twice is submitted once", async () => {
  const { handler, submitted } = handlerOf();
  const handled = await handler.handle(parsed(created("a.jpg"), created("a.jpg"), created("b.jpg")));
  assert.deepEqual(handled, { accepted: 3, ignored: {} });
  assert.equal(submitted.length, 2);
});

test("every event that is not labeled is counted with its reason", async () => {
  const { handler, submitted } = handlerOf();
  const blob = { ...created("a.jpg", {}), bucket: "host/container", uri: "https://host/container/a.jpg" };
  const handled = await handler.handle({
    events: [
      created("a.jpg", {}, "removed"),
      created("b.jpg", {}, "removed"),
      created("a.jpg", {}, "other"),
      created("a.gif"),
      created("a.jpg.labels.json"),
      created("../a.jpg"),
      created("gone.jpg", {}),
      blob,
    ],
    ignored: [{ reason: "the test event of S3" }],
  });
  assert.deepEqual(handled, {
    accepted: 0,
    ignored: {
      ...{ "the test event of S3": 1, removed: 2, unchanged: 1, "no-rule": 1 },
      ...{ "own-output": 1, unreadable: 1, missing: 1, "no-version": 1 },
    },
  });
  assert.deepEqual(submitted, []);
});

test("without a version in the event, the current object is labeled", async () => {
  const { handler, submitted } = handlerOf({ etags: { "a.jpg": "now" } });
  await handler.handle(parsed(created("a.jpg", { sequencer: "0B" })));
  assert.deepEqual(submitted[0]!.object, { etag: "now", sequencer: "0B" });
});

test("a table is a run of its current content: an older event is left to the newer one", async () => {
  const { handler, tables } = handlerOf({ etags: { "a.csv": "e2" } });
  const handled = await handler.handle(parsed(created("a.csv", { etag: "e1" }), created("a.csv", { etag: "e2" })));
  assert.deepEqual(handled, { accepted: 1, ignored: { replaced: 1 } });
  assert.deepEqual(
    tables.map(({ object, owner }) => [object, owner]),
    [[{ etag: "e2" }, "rule:tables"]],
  );
});

test("if one submission fails, all others are made, and the message fails", async () => {
  let isDown = true;
  const down = new LabelmillError("STORE_FAILED", "down");
  const { handler, submitted } = handlerOf({ fail: ({ uri }) => (isDown && uri.endsWith("b.jpg") ? down : undefined) });
  const message = parsed(created("a.jpg"), created("b.jpg"), created("c.jpg"));
  await assert.rejects(handler.handle(message), down);
  assert.equal(submitted.length, 2);
  isDown = false;
  assert.deepEqual(await handler.handle(message), { accepted: 3, ignored: {} });
  assert.equal(new Set(submitted.map(({ run }) => run)).size, 3, "the repeated ones have the ids of before");
});
