import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { DeleteObjectCommand, PutBucketVersioningCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { Fetcher } from "../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";
import type { FetchLimits } from "../../../src/fetch/limits.ts";
import { S3Grants } from "../../../src/fetch/s3-grants.ts";
import type { ObjectVersion } from "../../../src/schemas/enrichment/object.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { type Answer, hostileServer } from "../../helpers/servers/hostile-server.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";

const never = new AbortController().signal;
const FAST = { tries: 2, delayMs: 1 };

const { server, s3, bucket } = await openTestBucket();

function fetcherOf(t: TestContext, roots: string[], from = s3, limits: Partial<FetchLimits> = {}): Fetcher {
  const grants = new FileGrants([]);
  const fetcher = new Fetcher({ grants, s3: from, s3Grants: new S3Grants(roots), allowPrivate: false, limits });
  t.after(() => fetcher.close());
  return fetcher;
}

/** A server in the place of S3 that answers as the test defines. */
async function inItsPlace(t: TestContext, answer: Answer, roots = ["s3://bucket"]) {
  const hostile = await hostileServer(answer);
  const client = new S3({ ...server.settings, endpoint: hostile.origin, pathStyle: true }, FAST);
  t.after(async () => {
    client.close();
    await hostile[Symbol.asyncDispose]();
  });
  return { hostile, fetcher: fetcherOf(t, roots, client) };
}

test("a granted object is read whole, with any characters in its key", async (t) => {
  const bytes = Buffer.alloc(700_001, "0123456789");
  await s3.put({ bucket, key: "in/a b+#?%é=&.png" }, bytes);
  await s3.put({ bucket, key: "in/empty.png" }, new Uint8Array());
  const fetcher = fetcherOf(t, [`s3://${bucket}/in/`]);
  const fetched = await fetcher.get(`s3://${bucket}/in/a b+%23%3F%25é=&.png`, never);
  assert.ok(bytes.equals(fetched));
  assert.equal((await fetcher.get(`s3://${bucket}/in/empty.png`, never)).length, 0);
});

test("an object that is not granted is not requested, whether it exists or not", async (t) => {
  const { hostile, fetcher } = await inItsPlace(t, (response) => response.end("secret"), ["s3://bucket/in/"]);
  for (const key of ["out.png", "in", "inner/x.png", "In/x.png"]) {
    await assert.rejects(fetcher.get(`s3://bucket/${key}`, never), { code: "NOT_GRANTED", retryable: false });
  }
  for (const key of ["in/../out.png", "in/%2e%2e/out.png", "in//x.png", "in/./x.png", "in/x.png?versionId=1", "%ff"]) {
    await assert.rejects(fetcher.get(`s3://bucket/${key}`, never), { code: "URL_REFUSED", retryable: false });
  }
  for (const key of ["in/", "in/folder/"]) {
    await assert.rejects(fetcher.get(`s3://bucket/${key}`, never), { code: "IMAGE_INVALID" });
  }
  assert.equal(hostile.requests.length, 0);
});

test("a missing object is not found, a missing bucket is refused", async (t) => {
  const none = `${bucket}-none`;
  const fetcher = fetcherOf(t, [`s3://${bucket}`, `s3://${none}`]);
  const message = `s3://${bucket}/none.png: expected an object, got none`;
  await assert.rejects(fetcher.get(`s3://${bucket}/none.png`, never), { code: "IMAGE_NOT_FOUND", message });
  await assert.rejects(fetcher.get(`s3://${none}/a.png`, never), {
    code: "FETCH_FAILED",
    message: /bucket does not exist/,
  });
});

test("a version of an object is read by its id or its ETag; another one, or none, is INPUT_CHANGED", async (t) => {
  const key = "versions/a.png";
  const uri = `s3://${bucket}/${key}`;
  const fetcher = fetcherOf(t, [`s3://${bucket}`]);
  const get = async (object: ObjectVersion) => Buffer.from(await fetcher.get(uri, never, { what: "an image", object }));
  const changed = {
    code: "INPUT_CHANGED",
    message: /^s3:.*a\.png: expected the object with (ETag|version) .*replaced/,
  };
  await s3.put({ bucket, key }, Buffer.from("first"));
  const { etag } = await s3.head({ bucket, key });
  assert.equal((await get({ etag })).toString(), "first");
  await s3.put({ bucket, key }, Buffer.from("second"));
  await assert.rejects(get({ etag }), changed);
  await s3.delete({ bucket, key });
  await assert.rejects(get({ etag }), changed);
  await assert.rejects(get({ sequencer: "00" }), { code: "IMAGE_NOT_FOUND" });

  const Versioning = { Status: "Enabled" } as const;
  await server.admin.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: Versioning }));
  const versions: string[] = [];
  for (const Body of ["one", "two"]) {
    const { VersionId } = await server.admin.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body }));
    if (VersionId === undefined) return t.skip(`${server.name} has no versions`);
    versions.push(VersionId);
  }
  const [one, two] = versions as [string, string];
  assert.equal((await get({ versionId: one, etag: "of no object" })).toString(), "one");
  assert.equal((await get({ versionId: two })).toString(), "two");
  await server.admin.send(new DeleteObjectCommand({ Bucket: bucket, Key: key, VersionId: one }));
  await assert.rejects(get({ versionId: one }), changed);
});

test("the limit is exact to the byte, and a larger object is not read", async (t) => {
  await s3.put({ bucket, key: "limit/1000.png" }, Buffer.alloc(1000));
  await s3.put({ bucket, key: "limit/1001.png" }, Buffer.alloc(1001));
  const fetcher = fetcherOf(t, [`s3://${bucket}`], s3, { maxFileBytes: 1000 });
  assert.equal((await fetcher.get(`s3://${bucket}/limit/1000.png`, never)).length, 1000);
  await assert.rejects(fetcher.get(`s3://${bucket}/limit/1001.png`, never), {
    code: "FETCH_TOO_LARGE",
    message: /limit\/1001\.png: .*1000 bytes/,
  });
  const { fetcher: usual } = await inItsPlace(t, (response) => {
    response.writeHead(200, { "content-length": 100_000_001, etag: '"e"' }).flushHeaders();
  });
  await assert.rejects(usual.get("s3://bucket/huge.png", never), { code: "FETCH_TOO_LARGE" });
});

test("a forbidden object is refused, an outage is retryable", async (t) => {
  const error = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message></Error>`;
  const forbidding = await inItsPlace(t, (response) => response.writeHead(403).end(error("AccessDenied")));
  await assert.rejects(forbidding.fetcher.get("s3://bucket/a.png", never), {
    code: "FETCH_FAILED",
    message: /s3:\/\/bucket\/a\.png.*forbidden/,
    retryable: false,
  });
  assert.equal(forbidding.hostile.requests.length, 1);
  const busy = await inItsPlace(t, (response) => response.writeHead(503).end(error("SlowDown")));
  await assert.rejects(busy.fetcher.get("s3://bucket/a.png", never), {
    code: "FETCH_UNAVAILABLE",
    message: /s3:\/\/bucket\/a\.png.*503/,
    retryable: true,
  });
  assert.equal(busy.hostile.requests.length, FAST.tries);
});

test("expired keys are a failure of the store, not of the image; a wrong signature may concern one key", async (t) => {
  const error = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message></Error>`;
  for (const code of ["ExpiredToken", "InvalidAccessKeyId", "RequestTimeTooSkewed"]) {
    const { fetcher } = await inItsPlace(t, (response) => response.writeHead(400).end(error(code)));
    await assert.rejects(fetcher.get("s3://bucket/a.png", never), { code: "STORE_FAILED", place: "s3://bucket" }, code);
  }
  const { fetcher } = await inItsPlace(t, (response) => response.writeHead(403).end(error("SignatureDoesNotMatch")));
  await assert.rejects(fetcher.get("s3://bucket/a.png", never), { code: "FETCH_FAILED" });
});

test("an aborted fetch ends at once, before its start and while the server is silent", {
  timeout: 10_000,
}, async (t) => {
  const abort = new AbortController();
  const { hostile, fetcher } = await inItsPlace(t, () => abort.abort(new Error("stop")));
  await assert.rejects(fetcher.get("s3://bucket/a.png", AbortSignal.abort()), { code: "ABORTED" });
  assert.equal(hostile.requests.length, 0);
  await assert.rejects(fetcher.get("s3://bucket/a.png", abort.signal), { code: "ABORTED", retryable: true });
  assert.equal(hostile.requests.length, 1);
});

test("an abort does not wait for credentials that never arrive", { timeout: 10_000 }, async (t) => {
  const abort = new AbortController();
  let answer = () => {};
  const role = await hostileServer((response) => {
    const keys = { AccessKeyId: "a", SecretAccessKey: "b", Token: "c", Expiration: "2100-01-01T00:00:00Z" };
    answer = () => response.end(JSON.stringify(keys));
    abort.abort(new Error("stop"));
  });
  t.after(() => role[Symbol.asyncDispose]());
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env;
  t.after(() => Object.assign(process.env, { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY }));
  t.after(() => delete process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI);
  delete process.env.AWS_ACCESS_KEY_ID;
  delete process.env.AWS_SECRET_ACCESS_KEY;
  process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI = role.origin;
  const { hostile, fetcher } = await inItsPlace(t, (response) => response.end("image"));
  await assert.rejects(fetcher.get("s3://bucket/a.png", abort.signal), { code: "ABORTED" });
  assert.deepEqual([role.requests.length, hostile.requests.length], [1, 0]);
  answer();
});
