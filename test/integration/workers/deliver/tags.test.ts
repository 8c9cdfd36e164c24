import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  GetObjectTaggingCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectTaggingCommand,
} from "@aws-sdk/client-s3";
import type { ObjectVersion } from "../../../../src/schemas/enrichment/object.ts";
import { S3 } from "../../../../src/storage/s3/s3.ts";
import { LogLines } from "../../../helpers/log-lines.ts";
import { TestPipeline } from "../../../helpers/runs/pipeline.ts";
import { submitSingle } from "../../../helpers/runs/singles.ts";
import { startTestS3 } from "../../../helpers/servers/s3-server.ts";

const server = await startTestS3();
const s3 = new S3(server.settings);
after(async () => {
  s3.close();
  await server[Symbol.asyncDispose]();
});
const skip = server.name.startsWith("fauxqs") && server.name;

/** A worker that may tag the objects of a bucket. `label` labels one of them, and returns its best label and score. */
async function openBucket(pipeline: TestPipeline) {
  const bucket = await server.makeBucket();
  const root = `s3://${bucket}/`;
  const reported = new LogLines();
  const settings = { threads: 1, s3Roots: [root], outputRoots: [root, pipeline.folder] };
  await pipeline.worker(settings, { s3: server.settings, log: reported.log });
  const put = async (Key: string, Body: string) => {
    const { VersionId, ETag } = await server.admin.send(new PutObjectCommand({ Bucket: bucket, Key, Body }));
    return { ...(VersionId ? { versionId: VersionId } : {}), etag: ETag!.replaceAll('"', "") };
  };
  const label = async (key: string, object?: ObjectVersion) => {
    const items = [{ textFile: `s3://${bucket}/${key}`, ...(object ? { object } : {}) }];
    const { ended } = await submitSingle(pipeline, { model: "tiny-sentiment", items, results: [{ to: "tags" }] });
    const { failed, items: rows } = await ended;
    assert.equal(failed, undefined);
    return rows![0]!;
  };
  const tag = (Key: string, tags: Record<string, string>) => {
    const TagSet = Object.entries(tags).map(([name, Value]) => ({ Key: name, Value }));
    return server.admin.send(new PutObjectTaggingCommand({ Bucket: bucket, Key, Tagging: { TagSet } }));
  };
  const tags = async (Key: string, VersionId?: string) => {
    const target = { Bucket: bucket, Key, ...(VersionId ? { VersionId } : {}) };
    const { TagSet = [] } = await server.admin.send(new GetObjectTaggingCommand(target));
    return Object.fromEntries(TagSet.map(({ Key: name, Value }) => [name, Value]));
  };
  return { bucket, put, label, tag, tags, reported };
}

function tagsOf(row: Awaited<ReturnType<Awaited<ReturnType<typeof openBucket>>["label"]>>) {
  assert.ok("label" in row);
  return { "labelmill-label": row.label, "labelmill-score": String(Math.round(row.score * 1e4) / 1e4) };
}

test("the label and the score become tags, and all other tags stay", { skip }, async () => {
  await using pipeline = await TestPipeline.open();
  const { put, label, tag, tags } = await openBucket(pipeline);
  const object = await put("a b.txt", "a great day");
  const own = { owner: "jane", "labelmill-label": "of before" };
  await tag("a b.txt", own);
  const row = await label("a%20b.txt", object);
  assert.deepEqual(await tags("a b.txt"), { ...own, ...tagsOf(row) });
  await put("b.txt", "an awful day");
  assert.deepEqual(await tags("b.txt"), {});
  assert.deepEqual(await tags("b.txt"), {});
  assert.deepEqual(tagsOf(await label("b.txt")), await tags("b.txt"));
});

test("an object with ten tags keeps them; one with nine gets the label, and a warning names the bucket once", {
  skip,
}, async () => {
  await using pipeline = await TestPipeline.open();
  const { bucket, put, label, tag, tags, reported } = await openBucket(pipeline);
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, `${i}`]));
  for (const count of [10, 9]) {
    const object = await put(`${count}.txt`, "a great day");
    await tag(`${count}.txt`, many(count));
    const { "labelmill-label": name } = tagsOf(await label(`${count}.txt`, object));
    assert.deepEqual(await tags(`${count}.txt`), {
      ...many(count),
      ...(count === 9 ? { "labelmill-label": name } : {}),
    });
  }
  assert.equal(reported.warned(/objects have ten tags already/).length, 1);
  assert.equal(reported.lines.find(({ msg }) => /ten tags/.test(msg))!.bucket, `s3://${bucket}`);
});

test("the version that was labeled gets the tags, and an object that was replaced gets none", { skip }, async (t) => {
  await using pipeline = await TestPipeline.open();
  const { bucket, put, label, tags } = await openBucket(pipeline);
  const replaced = await put("x.txt", "a great day");
  await put("x.txt", "an awful day");
  assert.equal("error" in (await label("x.txt", replaced)) && "INPUT_CHANGED", "INPUT_CHANGED");
  assert.deepEqual(await tags("x.txt"), {});

  const Versioning = { Status: "Enabled" } as const;
  await server.admin.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: Versioning }));
  const one = await put("y.txt", "a great day");
  const two = await put("y.txt", "an awful day");
  if (!("versionId" in one) || !("versionId" in two)) return t.skip(`${server.name} has no versions`);
  const row = await label("y.txt", one);
  assert.deepEqual(await tags("y.txt", one.versionId as string), tagsOf(row));
  assert.deepEqual(await tags("y.txt"), {});
});
