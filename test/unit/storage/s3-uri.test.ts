import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { parseS3Uri, s3Uri } from "../../../src/storage/s3/uri.ts";
import { isError } from "../../helpers/store-conformance.ts";

describe("the URI of a place on S3", () => {
  test("is parsed as users write it", () => {
    const places: [string, string, string][] = [
      ["s3://bucket", "bucket", ""],
      ["s3://bucket/", "bucket", ""],
      ["S3://my.bucket-1/a/b.jpg", "my.bucket-1", "a/b.jpg"],
      ["s3://bucket/dt=2026-01-02/a b+c,é.jpg", "bucket", "dt=2026-01-02/a b+c,é.jpg"],
      ["s3://bucket/prefix/", "bucket", "prefix/"],
      ["s3://bucket//a//../b", "bucket", "/a//../b"],
      ["s3://bucket/100%25%3F%23", "bucket", "100%?#"],
    ];
    for (const [uri, bucket, key] of places) assert.deepEqual(parseS3Uri(uri), { bucket, key }, uri);
    assert.equal(s3Uri({ bucket: "bucket", key: "dt=2026/a b?#%.jpg" }), "s3://bucket/dt=2026/a%20b%3F%23%25.jpg");
  });

  test("has a round trip for any key", () => {
    const keys = fc.string({ unit: "grapheme", maxLength: 100 }).filter((key) => !key.includes("\0"));
    fc.assert(
      fc.property(keys, (key) => {
        const place = { bucket: "bucket", key };
        assert.deepEqual(parseS3Uri(s3Uri(place)), place);
        assert.match(s3Uri(place), /^[\x21-\x7e]+$/);
      }),
    );
  });

  test("is refused if invalid, without secrets in the error", () => {
    const wrong = [
      "",
      "s3:",
      "s3://",
      "s3:///key",
      "s3:bucket/key",
      "https://bucket/key",
      "s3://b/k",
      "s3://bu cket/k",
    ];
    wrong.push(
      "s3://bucket?versionId=1",
      "s3://bucket/key?X-Amz-Signature=1",
      "s3://bucket/key#part",
      "s3://bucket:9000/k",
    );
    wrong.push("s3://bucket/100%", "s3://bucket/%ff", "s3://bucket/a%00b", `s3://bucket/${"x".repeat(1025)}`);
    for (const uri of wrong) assert.throws(() => parseS3Uri(uri), isError("USAGE", /expected s3:\/\/BUCKET\/KEY/), uri);
    for (const uri of ["s3://me:hidden@bucket/key", "s3://bucket/key?token=hidden"])
      assert.throws(
        () => parseS3Uri(uri),
        (error: Error) => !error.message.includes("hidden"),
      );
  });
});
