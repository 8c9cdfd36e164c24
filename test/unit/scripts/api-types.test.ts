import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { API_TYPES, apiTypes } from "../../../scripts/openapi-types/api-types.ts";

test("examples/http/api.d.ts is current: node scripts/openapi.ts writes it", async () => {
  // Without the texts, which are long.
  assert.ok((await readFile(API_TYPES, "utf8")) === (await apiTypes()), "the types differ from docs/openapi.json");
});
