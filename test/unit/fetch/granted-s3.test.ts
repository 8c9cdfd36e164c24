import assert from "node:assert/strict";
import { test } from "node:test";
import { GrantedS3 } from "../../../src/fetch/granted-s3.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";

test("every method of the S3 client has a checked or refused form, so that no new one passes by the check", () => {
  const methods = (type: object) => Object.getOwnPropertyNames(type).sort();
  assert.deepEqual(methods(GrantedS3.prototype), methods(S3.prototype));
});
