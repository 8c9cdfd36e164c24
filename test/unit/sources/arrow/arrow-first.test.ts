import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";

const READ: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };

// This file has only one test and imports nothing else of Arrow, because some modules of the library depend on others being loaded.
test("a file is read in a process that has not read Arrow before", async () => {
  const path = fileURLToPath(new URL("../../../fixtures/arrow/file.arrow", import.meta.url));
  const records = await Array.fromAsync((await openTextSource(path, READ)).records());
  assert.equal(records.length, 90);
});
