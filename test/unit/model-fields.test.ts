import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { tableNames, withTables } from "../helpers/field-table.ts";

test("docs/models.md has the fields of a model's files as the code has them", async () => {
  const document = await readFile(new URL("../../docs/models.md", import.meta.url), "utf8");
  for (const name of tableNames) assert.ok(document.includes(`<!-- ${name} -->`), `a place for ${name}`);
  assert.equal(document, withTables(document), "run `node test/helpers/write-tables.ts`");
});
