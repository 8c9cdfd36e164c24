import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseMessage, parseText } from "../../../src/events/parse/message.ts";
import type { ObjectEvent } from "../../../src/events/parse/object-event.ts";
import { parseS3Uri } from "../../../src/storage/s3/uri.ts";

/** Complete messages in the documented form of each sender. */
function fixture(name: string): string {
  return readFileSync(new URL(`../../fixtures/events/${name}.json`, import.meta.url), "utf8");
}

const json = (name: string) => JSON.parse(fixture(name));
const invalid = { code: "EVENT_INVALID" };

test("S3: keys are decoded, removals and other changes are distinguished", () => {
  const { events, ignored } = parseText(fixture("s3"));
  assert.deepEqual(ignored, []);
  assert.deepEqual(events, [
    {
      kind: "created",
      name: "ObjectCreated:Put",
      uri: "s3://uploads/photos/red%20flower%20&%20100%25%20+%20%C3%BC.jpg",
      bucket: "uploads",
      key: "photos/red flower & 100% + ü.jpg",
      size: 102400,
      object: {
        versionId: "096fKKXTRTtl3on89fVO.nfljtsv6qko",
        etag: "d41d8cd98f00b204e9800998ecf8427e",
        sequencer: "0055AED6DCD90281E5",
      },
      time: "2026-11-29T10:15:30.123Z",
    },
    {
      kind: "removed",
      name: "ObjectRemoved:DeleteMarkerCreated",
      uri: "s3://uploads/photos/old.jpg",
      bucket: "uploads",
      key: "photos/old.jpg",
      // The version `null` identifies no content.
      object: { sequencer: "0055AED6DCD90281E6" },
      time: "2026-11-29T10:15:31.000Z",
    },
    {
      kind: "other",
      name: "ObjectTagging:Put",
      uri: "s3://uploads/photos/new.jpg",
      bucket: "uploads",
      key: "photos/new.jpg",
      object: { etag: "d41d8cd98f00b204e9800998ecf8427e", sequencer: "0055AED6DCD90281E7" },
      time: "2026-11-29T10:15:32.000Z",
    },
  ] satisfies ObjectEvent[]);
  // The address leads to the same object.
  assert.deepEqual(parseS3Uri(events[0]!.uri), { bucket: "uploads", key: "photos/red flower & 100% + ü.jpg" });
});

test("S3: the test event is ignored with a reason", () => {
  assert.deepEqual(parseText(fixture("s3-test")), { events: [], ignored: [{ reason: "the test event of S3" }] });
});

test("MinIO and RustFS: the names have a prefix, and sequencers are compared in upper case", () => {
  assert.deepEqual(parseText(fixture("minio")).events, [
    {
      kind: "created",
      name: "ObjectCreated:CompleteMultipartUpload",
      uri: "s3://uploads/photos/tiger%20at%20night.jpg",
      bucket: "uploads",
      key: "photos/tiger at night.jpg",
      size: 22466200,
      object: { etag: "5fc7298143efe1276d39a3466d4e255f-2", sequencer: "17A0D8B1F5C9A3B0" },
      time: "2026-11-29T09:27:27.405Z",
    },
  ]);
  assert.deepEqual(parseText(fixture("rustfs")).events, [
    {
      kind: "created",
      name: "ObjectCreated:Put",
      uri: "s3://uploads/texts/review-7.txt",
      bucket: "uploads",
      key: "texts/review-7.txt",
      size: 352,
      object: {
        versionId: "3f1a4b52-0c5d-4d53-9a4f-6f6d5d1f8a11",
        etag: "0cc175b9c0f1b6a831c399e269772661",
        sequencer: "187C6E21A4D03B00",
      },
      time: "2026-11-29T09:30:00.000Z",
    },
  ]);
});

test("MinIO: a changed tag, lock or retention is no new object", () => {
  for (const action of ["PutTagging", "DeleteTagging", "PutRetention", "PutLegalHold"]) {
    const body = json("minio");
    body.Records[0].eventName = `s3:ObjectCreated:${action}`;
    assert.equal(parseMessage(body).events[0]!.kind, "other", action);
  }
});

test("EventBridge: keys are not encoded", () => {
  const [event] = parseText(fixture("event-bridge")).events;
  assert.deepEqual(event, {
    kind: "created",
    name: "Object Created",
    uri: "s3://uploads/photos/red%20flower%20+%20100%25.jpg",
    bucket: "uploads",
    key: "photos/red flower + 100%.jpg",
    size: 5,
    object: {
      versionId: "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
      etag: "b1946ac92492d2347c6235b4d2611184",
      sequencer: "00617F08299329D189",
    },
    time: "2026-11-29T00:00:00Z",
  });
  assert.equal(parseMessage({ ...json("event-bridge"), "detail-type": "Object Deleted" }).events[0]!.kind, "removed");
  assert.equal(parseMessage({ ...json("event-bridge"), "detail-type": "Object Tags Added" }).events[0]!.kind, "other");
  const other = parseMessage({ ...json("event-bridge"), source: "aws.ec2" });
  assert.deepEqual(other, { events: [], ignored: [{ reason: "an EventBridge event of another service than S3" }] });
});

test("SeaweedFS: paths of buckets are objects, the MD5 is the ETag, the time orders", () => {
  const [event] = parseText(fixture("seaweedfs")).events;
  assert.deepEqual(event, {
    kind: "created",
    name: "create",
    uri: "s3://uploads/photos/tiger%20one.jpg",
    bucket: "uploads",
    key: "photos/tiger one.jpg",
    size: 102400,
    object: {
      etag: "d41d8cd98f00b204e9800998ecf8427e",
      sequencer: (1764412530n * 1_000_000_000n + 123456789n).toString(16).padStart(32, "0").toUpperCase(),
    },
  });
});

test("SeaweedFS: an overwritten or moved file is created, a deleted one is removed", () => {
  const body = json("seaweedfs");
  const entry = body.message.new_entry;
  const overwritten = { ...body, event_type: "rename", message: { ...body.message, old_entry: entry } };
  assert.equal(parseMessage(overwritten).events[0]!.kind, "created");
  const moved = { ...overwritten, message: { ...overwritten.message, new_parent_path: "/buckets/other/a" } };
  assert.equal(parseMessage(moved).events[0]!.uri, "s3://other/a/tiger%20one.jpg");
  const deleted = { ...body, event_type: "delete", message: { old_entry: entry } };
  assert.deepEqual(
    parseMessage(deleted).events.map(({ kind, key }) => [kind, key]),
    [["removed", "photos/tiger one.jpg"]],
  );
});

test("SeaweedFS: versions are files beside the object, with the ETag of the gateway", () => {
  const body = json("seaweedfs");
  const text = (value: string) => Buffer.from(value).toString("base64");
  body.key = "/buckets/uploads/photos/tiger.jpg.versions/v_3c5d";
  body.message.new_parent_path = "/buckets/uploads/photos/tiger.jpg.versions";
  body.message.new_entry.name = "v_3c5d";
  body.message.new_entry.extended = {
    "Seaweed-X-Amz-Version-Id": text("3c5d"),
    "Seaweed-X-Amz-ETag": text('"5fc7298143efe1276d39a3466d4e255f-2"'),
  };
  const [event] = parseMessage(body).events;
  assert.equal(event!.key, "photos/tiger.jpg");
  assert.equal(event!.object.versionId, "3c5d");
  assert.equal(event!.object.etag, "5fc7298143efe1276d39a3466d4e255f-2");
  body.message.new_entry.extended["Seaweed-X-Amz-Delete-Marker"] = text("true");
  assert.equal(parseMessage(body).events[0]!.kind, "removed");
});

test("SeaweedFS: folders, pieces of uploads and files outside of buckets are ignored, each with its reason", () => {
  const ignored = (path: string, entry: object = {}) => {
    const body = json("seaweedfs");
    body.key = path;
    body.message.new_parent_path = path.replace(/\/[^/]*$/, "");
    body.message.new_entry = { ...body.message.new_entry, name: path.replace(/^.*\//, ""), ...entry };
    const parsed = parseMessage(body);
    assert.deepEqual(parsed.events, []);
    return parsed.ignored[0]!.reason;
  };
  assert.match(ignored("/buckets/uploads/photos", { is_directory: true }), /a folder/);
  assert.match(ignored("/buckets/uploads/.uploads/5fc7/0001.part"), /unfinished upload/);
  assert.match(ignored("/topics/.system/log/1"), /outside of \/buckets/);
});

test("CloudEvents: an event of S3, structured, in binary mode, with base64 and in a batch", () => {
  const structured = json("cloud-event-s3");
  const { events } = parseMessage(structured);
  assert.deepEqual(
    events.map(({ kind, name, key, object }) => ({ kind, name, key, object })),
    [
      {
        kind: "created",
        name: "ObjectCreated:Copy",
        key: "photos/red flower.jpg",
        object: { etag: "d41d8cd98f00b204e9800998ecf8427e", sequencer: "0055AED6DCD90281E5" },
      },
    ],
  );
  const { data, specversion, id, source, type, time } = structured;
  const headers = {
    "content-type": "application/json",
    "ce-specversion": specversion,
    "ce-id": encodeURIComponent(id),
    "ce-source": source,
    "ce-type": type,
    "ce-time": time,
  };
  assert.deepEqual(parseMessage(data, headers).events, events);
  assert.deepEqual(parseMessage({ Records: [data] }, headers).events, events);
  const encoded = { ...structured, data: undefined, data_base64: Buffer.from(JSON.stringify(data)).toString("base64") };
  assert.deepEqual(parseMessage(encoded).events, events);
  const batch = parseMessage([structured, json("cloud-event-google"), { ...structured, type: "com.example.greeting" }]);
  assert.deepEqual(
    batch.events.map(({ key }) => key),
    ["photos/red flower.jpg", "photos/red flower.jpg"],
  );
  assert.deepEqual(batch.ignored, [{ reason: "a CloudEvent of an unknown type" }]);
});

test("CloudEvents: an object of Google is read through S3, and its MD5 is the ETag there", () => {
  const body = json("cloud-event-google");
  const [event] = parseMessage(body).events;
  assert.deepEqual(event, {
    kind: "created",
    name: "finalized",
    uri: "s3://uploads/photos/red%20flower.jpg",
    bucket: "uploads",
    key: "photos/red flower.jpg",
    size: 352,
    object: {
      etag: "d41d8cd98f00b204e9800998ecf8427e",
      sequencer: 1764411330123456n.toString(16).padStart(32, "0").toUpperCase(),
    },
    time: "2026-11-29T10:15:30.123456Z",
  });
  delete body.data.md5Hash;
  assert.deepEqual(Object.keys(parseMessage(body).events[0]!.object), ["sequencer"], "a composite object has no MD5");
  for (const [type, kind] of Object.entries({ deleted: "removed", archived: "removed", metadataUpdated: "other" })) {
    const of = { ...json("cloud-event-google"), type: `google.cloud.storage.object.v1.${type}` };
    assert.equal(parseMessage(of).events[0]!.kind, kind);
  }
});

test("CloudEvents: a blob of Azure has its https URL and the bucket HOST/CONTAINER", () => {
  const body = json("cloud-event-azure");
  assert.deepEqual(parseMessage(body).events, [
    {
      kind: "created",
      name: "BlobCreated",
      uri: "https://mediauploads.blob.core.windows.net/uploads/photos/red%20flower.jpg",
      bucket: "mediauploads.blob.core.windows.net/uploads",
      key: "photos/red flower.jpg",
      size: 30699,
      object: {
        etag: "0x8D76C39E4407333",
        sequencer: "000000000000000000000000000099240000000000C41C18",
      },
      time: "2026-11-29T15:13:39.4589254Z",
    },
  ]);
  const api = (name: string) => parseMessage({ ...body, data: { ...body.data, api: name } });
  assert.deepEqual(api("CreateFile").events, []);
  assert.equal(api("FlushWithClose").events.length, 1);
  const type = (name: string) => parseMessage({ ...body, type: `Microsoft.Storage.${name}` });
  assert.equal(type("BlobDeleted").events[0]!.kind, "removed");
  assert.deepEqual(type("BlobTierChanged").ignored, [{ reason: "an event of Azure that creates no blob" }]);
});

test("any other form is refused, and the message does not repeat its content", () => {
  const secret = "s3cr3t";
  const record = (change: object) => ({ Records: [{ ...json("s3").Records[0], ...change }] });
  const object = (change: object) => {
    const body = json("s3");
    Object.assign(body.Records[0].s3.object, change);
    return body;
  };
  const bodies: unknown[] = [
    null,
    7,
    secret,
    {},
    { hello: secret },
    { Records: secret },
    { Records: [secret] },
    record({ eventVersion: `3.0${secret}` }),
    record({ s3: {} }),
    record({ eventName: undefined }),
    object({ key: "" }),
    object({ key: `%zz${secret}` }),
    object({ size: -1 }),
    { ...json("event-bridge"), detail: {} },
    { ...json("event-bridge"), detail: { bucket: { name: "b" }, object: { key: `\ud800${secret}` } } },
    { ...json("seaweedfs"), key: 5 },
    { ...json("cloud-event-s3"), specversion: "0.3" },
    { ...json("cloud-event-s3"), data: { secret } },
    { ...json("cloud-event-s3"), data: undefined, data_base64: "bm9uZQ" },
    { ...json("cloud-event-google"), data: { bucket: secret } },
    { ...json("cloud-event-azure"), data: { url: `http://${secret}.blob.core.windows.net/a/b` } },
    { ...json("cloud-event-azure"), data: { url: `https://u:${secret}@x.blob.core.windows.net/a/b` } },
    { ...json("cloud-event-azure"), data: { url: "https://x.blob.core.windows.net/only-a-container" } },
    [secret],
    [{ eventType: "Microsoft.Storage.BlobCreated", subject: secret, data: {} }],
  ];
  for (const body of bodies) {
    assert.throws(
      () => parseMessage(body),
      (error: { code: string; message: string }) => {
        assert.equal(error.code, "EVENT_INVALID", JSON.stringify(body));
        assert.ok(!error.message.includes(secret), error.message);
        return true;
      },
      JSON.stringify(body),
    );
  }
  assert.throws(() => parseText("{"), invalid);
  assert.throws(() => parseMessage({ Records: Array.from({ length: 1001 }, () => json("s3").Records[0]) }), invalid);
  assert.throws(() => parseMessage({}, { "ce-specversion": "1.0", "ce-type": "%zz" }), invalid);
});
