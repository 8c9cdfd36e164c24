import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { ReadOptions } from "../../../../src/schemas/input.ts";
import { openTextSource } from "../../../../src/sources/open-texts.ts";

const READ: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };

// The only test of this file, and it imports nothing else of Arrow: parts of the library depend on what other parts have loaded.
test("a file is read in a process that has read no other Arrow before", async () => {
  const path = fileURLToPath(new URL("../../../fixtures/arrow/file.arrow", import.meta.url));
  const records = await Array.fromAsync((await openTextSource(path, READ)).records());
  assert.equal(records.length, 90);
});
