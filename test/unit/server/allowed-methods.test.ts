import assert from "node:assert/strict";
import { test } from "node:test";
import { AllowedMethods } from "../../../src/server/allowed-methods.ts";

test("the methods of a path are those of all routes that match it", () => {
  const methods = new AllowedMethods();
  methods.add("/v1/runs/:id", ["GET", "HEAD"]);
  methods.add("/v1/runs/:id", ["DELETE"]);
  methods.add("/models/*", ["POST"]);
  methods.add("/a.b", ["GET"]);
  assert.deepEqual(methods.of("/v1/runs/1"), ["DELETE", "GET", "HEAD"]);
  assert.deepEqual(methods.of("/models/hf:a/b"), ["POST"]);
  for (const path of ["/v1/runs", "/v1/runs/", "/v1/runs/1/2", "/axb"]) assert.deepEqual(methods.of(path), []);
});
