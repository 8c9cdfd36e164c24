import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { OPENAPI_FILE, openApiText } from "../../../scripts/openapi.ts";

test("docs/openapi.json is current: node scripts/openapi.ts writes it", async () => {
  // Without the texts, which are long.
  assert.ok(readFileSync(OPENAPI_FILE, "utf8") === (await openApiText()), "docs/openapi.json differs from the routes");
});

test("every operation has a summary and describes its errors", async () => {
  const { openapi, paths } = JSON.parse(await openApiText());
  assert.equal(openapi, "3.1.0");
  const operations = Object.values(paths).flatMap((path) => Object.values(path as Record<string, unknown>));
  assert.ok(operations.length >= 2);
  for (const operation of operations as { summary?: string; responses: Record<string, unknown> }[]) {
    assert.ok(operation.summary);
    assert.deepEqual(operation.responses.default, { $ref: "#/components/responses/Problem" });
  }
});
