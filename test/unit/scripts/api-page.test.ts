import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { API_COMMAND, API_PAGE, apiPage } from "../../../scripts/api-docs/api-page.ts";

test("docs/api.md describes the exports of src/index.ts", async () => {
  const page = await readFile(API_PAGE, "utf8");
  assert.equal(page, await apiPage(), `docs/api.md is out of date. Run: ${API_COMMAND}`);
});
