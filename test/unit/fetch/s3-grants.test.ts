import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LabelmillError } from "../../../src/errors.ts";
import { S3Grants } from "../../../src/fetch/s3-grants.ts";

function refuses(grants: S3Grants, uri: string, code: string, message = /./): void {
  assert.throws(
    () => grants.check(uri),
    (error: unknown) => {
      assert.ok(error instanceof LabelmillError, String(error));
      assert.equal(error.code, code, `${uri}: ${error.message}`);
      assert.match(error.message, message);
      assert.equal(error.retryable, false);
      return true;
    },
  );
}

test("a bucket grants all of its keys, and no other bucket", () => {
  for (const root of ["s3://photos", "s3://photos/"]) {
    const grants = new S3Grants([root]);
    assert.deepEqual(grants.check("s3://photos/a b%20%23%3F%25.png"), { bucket: "photos", key: "a b #?%.png" });
    assert.deepEqual(grants.check("s3://photos/a/b/"), { bucket: "photos", key: "a/b/" });
    assert.deepEqual(grants.check("s3://photos"), { bucket: "photos", key: "" });
    for (const other of ["s3://photos2/a.png", "s3://photo/a.png", "s3://other/photos/a.png"]) {
      refuses(grants, other, "NOT_GRANTED", /s3Roots \(--s3-roots, LABELMILL_S3_ROOTS\)/);
    }
  }
  refuses(new S3Grants([]), "s3://photos/a.png", "NOT_GRANTED");
});

test("a prefix grants the keys below it, an object itself and the keys below it, but no key that only begins with the same letters", () => {
  const prefix = new S3Grants(["s3://bkt/a/"]);
  for (const key of ["a/x.png", "a/b/x.png", "a/"]) assert.equal(prefix.check(`s3://bkt/${key}`).key, key);
  for (const key of ["", "a", "ab", "ab/x.png", "b/a/x.png", "A/x.png"])
    refuses(prefix, `s3://bkt/${key}`, "NOT_GRANTED");
  const single = new S3Grants(["s3://bkt/a"]);
  for (const key of ["a", "a/", "a/x.png"]) assert.equal(single.check(`s3://bkt/${key}`).key, key);
  for (const key of ["", "ab", "a.png", "b/a"]) refuses(single, `s3://bkt/${key}`, "NOT_GRANTED");
  const several = new S3Grants(["s3://bkt/a/", "s3://other"]);
  assert.equal(several.check("s3://other/x").bucket, "other");
});

test("segments that another reader would resolve are refused, granted or not", () => {
  const grants = new S3Grants(["s3://bucket/in/"]);
  for (const key of [
    "in/%2e%2E/out.png",
    "in%2F../out.png",
    "in/../out.png",
    "in/..",
    "in/./x.png",
    "in//x.png",
    "/x.png",
    "in/x//",
    "..",
    ".",
    "//",
    "/",
  ]) {
    refuses(grants, `s3://bucket/${key}`, "URL_REFUSED", /empty segments/);
    refuses(new S3Grants(["s3://bucket"]), `s3://bucket/${key}`, "URL_REFUSED");
  }
  // Ordinary names.
  for (const key of ["in/..png", "in/...", "in/a..b", "in/..\\out.png"]) {
    assert.equal(grants.check(`s3://bucket/${key}`).key, key);
  }
  assert.equal(grants.check("s3://bucket/in/%252e%252e/x.png").key, "in/%2e%2e/x.png", "decoded once");
  refuses(grants, "s3://bucket/in\\..\\out.png", "NOT_GRANTED");
});

test("an invalid s3 URI is refused, without its secrets in the error", () => {
  const grants = new S3Grants(["s3://bucket"]);
  for (const uri of [
    "s3:bucket/s3cr3t",
    "s3:///s3cr3t",
    "https://bucket/s3cr3t",
    "file:///s3cr3t",
    "s3cr3t",
    "",
    "s3://bucket/a\0b",
    "s3://bucket/a%00b",
    "s3://bucket/%ff.png",
    "s3://bucket/a.png?secret_key=s3cr3t",
    "s3://bucket/a.png#s3cr3t",
    "s3://bucket/\ud800.png",
    "s3://AKIA:s3cr3t@bucket/a.png",
    "s3:/AKIA:s3cr3t@bucket/a.png",
    "s3://buck et/a.png",
    `s3://bucket/${"a".repeat(1025)}`,
  ]) {
    refuses(grants, uri, "URL_REFUSED", /^(?!.*(AKIA|[:=#]s3cr3t))/s);
  }
});

test("an invalid root is refused, without its secrets in the error", () => {
  for (const root of ["", "bucket", "s3://", "s3:bucket", "/folder", "https://bucket", "s3://AKIA:s3cr3t@bucket"]) {
    assert.throws(() => new S3Grants([root]), { code: "CONFIG_INVALID", message: /^(?!.*s3cr3t).*LABELMILL_S3_ROOTS/ });
  }
});

const segment = fc.oneof(
  fc.constantFrom("a", "ab", "in", "..", ".", "", "%2e%2e", "a b", "é", "...", "?#"),
  fc.string({ unit: "grapheme", maxLength: 3 }).map((text) => text.replaceAll(/[/\0]/g, "")),
);
const bucket = fc.constantFrom("bucket", "bucket2", "other");
/** A URI with each character plain if allowed, or percent-encoded. */
const uriOf = (into: string, keyed: string, encode: boolean) =>
  encode
    ? `s3://${into}/${encodeURIComponent(keyed).replaceAll(".", "%2E")}`
    : `s3://${into}/${keyed.replaceAll(/[%?#]/g, encodeURIComponent)}`;
const key = fc.array(segment, { maxLength: 5 }).map((segments) => segments.join("/"));
const root = fc.tuple(bucket, key);

test("for any roots and URI, only keys below a root are granted, and the key is decoded correctly", () => {
  let granted = 0;
  fc.assert(
    fc.property(fc.array(root, { maxLength: 3 }), bucket, key, fc.boolean(), (roots, into, asked, encode) => {
      const grants = new S3Grants(roots.map(([name, prefix]) => uriOf(name, prefix, !encode)));
      let at: { bucket: string; key: string };
      try {
        at = grants.check(uriOf(into, asked, encode));
      } catch (error) {
        assert.ok(error instanceof LabelmillError, String(error));
        assert.match(error.code, /^(NOT_GRANTED|URL_REFUSED)$/);
        return;
      }
      granted++;
      assert.deepEqual(at, { bucket: into, key: asked });
      const segments = asked.replace(/\/$/, "").split("/");
      assert.ok(asked === "" || !segments.some((each) => each === "" || each === "." || each === ".."), asked);
      // Compares segment by segment, unlike the code under test.
      const below = roots.some(([name, prefix]) => {
        const wanted = prefix.replace(/\/$/, "").split("/");
        const exact = prefix === "" || wanted.every((each, index) => segments[index] === each);
        return name === into && exact && (asked !== prefix.slice(0, -1) || !prefix.endsWith("/"));
      });
      assert.ok(below, `${asked} of ${JSON.stringify(roots)}`);
    }),
    { numRuns: 5000 },
  );
  assert.ok(granted > 100, `only ${granted} were granted`);
});
