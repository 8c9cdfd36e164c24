import assert from "node:assert/strict";
import { test } from "node:test";
import type { ObjectEvent } from "../../../src/events/parse/object-event.ts";
import { type RuleContext, RuleSet } from "../../../src/events/rules.ts";
import { type Rule, RuleSchema } from "../../../src/schemas/enrichment/rule.ts";
import type { ModelPin } from "../../../src/schemas/run.ts";
import { s3Uri } from "../../../src/storage/s3/uri.ts";
import { checkTargets, type WebhookSettings } from "../../../src/webhooks/endpoints.ts";

const pin = (id: string, task: ModelPin["task"]): ModelPin => ({
  ...{ id, task, revision: "r", digest: "a".repeat(64), dtype: "fp32" },
});
const MODELS: Record<string, { pin: ModelPin; labels: number }> = {
  image: { pin: pin("image", "image-classification"), labels: 10 },
  text: { pin: pin("text", "text-classification"), labels: 2 },
};
const SECRET = `whsec_${Buffer.alloc(24, 7).toString("base64")}`;
const WEBHOOKS: WebhookSettings = {
  webhooks: [{ name: "crm", url: "https://example.com/crm", secrets: [SECRET] }],
  webhookSecrets: [SECRET],
  allowPrivate: false,
};
const context: RuleContext = {
  stores: ["s3://labels/server/", "s3://uploads/state/"],
  model: (name) => MODELS[name],
  checkTargets: (targets) => checkTargets(targets, WEBHOOKS),
};

function rule(fields: Record<string, unknown>): Rule {
  return RuleSchema.parse({ name: "photos", match: { bucket: "uploads" }, kind: "image", model: "image", ...fields });
}

function created(key: string, bucket = "uploads", kind: ObjectEvent["kind"] = "created"): ObjectEvent {
  return { kind, name: "ObjectCreated:Put", uri: s3Uri({ bucket, key }), bucket, key, object: { etag: "e" } };
}

/** The name of the rule of an object, or why it has none. */
function matchOf(rules: RuleSet, event: ObjectEvent): string {
  const match = rules.match(event);
  return "rule" in match ? match.rule.name : match.ignored;
}

test("the first rule that matches bucket, prefix and one of the suffixes is the rule", () => {
  const rules = new RuleSet(
    [
      rule({ name: "tigers", match: { bucket: "uploads", prefix: "photos/tigers/", suffix: ".jpg" } }),
      rule({ name: "photos", match: { bucket: "uploads", prefix: "photos/", suffix: [".jpg", ".png"] } }),
      rule({ name: "texts", match: { bucket: "uploads", suffix: ".txt" }, kind: "text", model: "text" }),
      rule({ name: "all", match: { bucket: "other" } }),
    ],
    context,
  );
  assert.equal(matchOf(rules, created("photos/tigers/a.jpg")), "tigers");
  assert.equal(matchOf(rules, created("photos/tigers/a.png")), "photos");
  assert.equal(matchOf(rules, created("photos/tigers.jpg")), "photos");
  assert.equal(matchOf(rules, created("photos/a.JPG")), "no-rule");
  assert.equal(matchOf(rules, created("photos/a.gif")), "no-rule");
  assert.equal(matchOf(rules, created("my photos/a.jpg")), "no-rule");
  assert.equal(matchOf(rules, created("a/b.txt")), "texts");
  assert.equal(matchOf(rules, created("a/b.txt", "other")), "all");
  assert.equal(matchOf(rules, created("a/b.txt", "third")), "no-rule");
});

test("removals, other changes, folders and unreadable keys have no rule", () => {
  const rules = new RuleSet([rule({})], context);
  assert.equal(matchOf(rules, created("a.jpg", "uploads", "removed")), "removed");
  assert.equal(matchOf(rules, created("a.jpg", "uploads", "other")), "unchanged");
  assert.equal(matchOf(rules, created("a/")), "folder");
  for (const key of ["../a.jpg", "a/../b.jpg", "a//b.jpg", "/a.jpg", "./a.jpg", "a\0.jpg", "k".repeat(1025)])
    assert.equal(matchOf(rules, created(key)), "unreadable", key);
});

test("our own files have no rule: outputs of the server and of rules, parts, records and sidecars", () => {
  const all = rule({ name: "all", match: { bucket: "uploads" }, output: "s3://uploads/labels" });
  const rules = new RuleSet([all, rule({ name: "labels", match: { bucket: "labels" } })], context);
  const run = "0123456789abcdef";
  for (const key of [
    `labels/single-${run}.jsonl`,
    "labels/anything.jpg",
    "state/keys/0123abcd.json",
    "labels/_accepted/x.json",
    "labels/_uploads/a.jpg",
    "photos/a.jpg.labels.json",
    `elsewhere/single-${run}.jsonl`,
    "elsewhere/part-0000001-01234567.jsonl",
    "elsewhere/data-0000001-0000009-01234567.parquet",
    ...["_run.json", "_parts.jsonl", "_files.jsonl", "_manifest.json", "_SUCCESS"].map((name) => `elsewhere/${name}`),
  ])
    assert.equal(matchOf(rules, created(key)), "own-output", key);
  assert.equal(matchOf(rules, created("server/a.jpg", "labels")), "own-output");
  // Names that cameras and users give are not ours.
  for (const key of ["photos/_DSC0001.jpg", "_uploads/a.jpg", "labelsheet/a.jpg", "single-cat.jsonl", "part-1.jsonl"])
    assert.equal(matchOf(rules, created(key)), "all", key);
});

test("a rule that cannot work is refused, and the message names it", () => {
  const azure = { bucket: "account.blob.core.windows.net/uploads" };
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ model: "unknown" }, /declared model/],
    [{ model: "text" }, /image-classification/],
    [{ kind: "text" }, /text-classification/],
    [{ column: "a" }, /column/],
    [{ match: { bucket: "uploads", prefix: "../" } }, /prefix/],
    [{ match: { bucket: "uploads", prefix: "photos/../secret/" } }, /prefix/],
    [{ match: { bucket: "uploads", prefix: "/photos/" } }, /prefix/],
    [{ match: { bucket: "uploads", prefix: "a//b/" } }, /prefix/],
    [{ match: { bucket: "labels", prefix: "server/a/" } }, /inside of an output/],
    [{ output: "s3://uploads/" }, /inside of an output/],
    [{ output: "s3://labels/{date}/" }, /template/],
    [{ output: "s3://labels/*/" }, /template/],
    [{ output: "s3://labels/a/../../b/" }, /`\.\.`/],
    [{ output: "s3://labels/%2E%2E/b/" }, /`\.\.`/],
    [{ output: "s3://labels/a//b/" }, /s3:\/\/BUCKET/],
    [{ output: "s3:/labels" }, /s3:\/\/BUCKET/],
    [{ output: "../elsewhere" }, /`\.\.`/],
    [{ output: "file:///data/../etc" }, /`\.\.`/],
    [{ output: "https://example.com/" }, /a folder/],
    [{ results: [{ to: "webhook", endpoint: "unknown" }] }, /webhook endpoint/],
    [{ results: [{ to: "webhook", url: "http://127.0.0.1/hook" }] }, /127\.0\.0\.1/],
    [{ results: [{ to: "sidecar" }, { to: "sidecar" }] }, /twice/],
    [{ match: azure, results: [{ to: "sidecar" }] }, /only for objects on S3/],
    [{ match: azure, results: [{ to: "tags" }] }, /only for objects on S3/],
    [{ kind: "table", results: [{ to: "tags" }] }, /image and text/],
  ];
  for (const [fields, message] of cases) {
    assert.throws(
      () => new RuleSet([rule(fields)], context),
      (error: { code: string; message: string }) => {
        assert.equal(error.code, "CONFIG_INVALID");
        assert.match(error.message, /^rules: photos: /);
        assert.match(error.message, message);
        return true;
      },
      JSON.stringify(fields),
    );
  }
  const url = rule({ results: [{ to: "webhook", url: "https://example.com/hook" }] });
  assert.throws(
    () =>
      new RuleSet([url], {
        ...context,
        checkTargets: (targets) => checkTargets(targets, { ...WEBHOOKS, webhookSecrets: [] }),
      }),
    /webhookSecrets/,
  );
  assert.throws(() => new RuleSet([rule({}), rule({})], context), /a name that no other rule has/);
});

test("a rule that works gets its model and the URI of its output", () => {
  const { rules } = new RuleSet(
    [
      rule({ name: "a", output: "s3://labels/a", results: [{ to: "sidecar" }, { to: "tags" }] }),
      rule({ name: "b", output: "/data/labels", kind: "table", column: "text", model: "text" }),
      rule({ name: "c", results: [{ to: "webhook", endpoint: "crm" }] }),
    ],
    context,
  );
  assert.deepEqual(
    rules.map(({ output, pin: { id } }) => [output, id]),
    [
      ["s3://labels/a/", "image"],
      ["file:///data/labels", "text"],
      [undefined, "image"],
    ],
  );
});
