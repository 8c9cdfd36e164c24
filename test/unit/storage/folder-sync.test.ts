import assert from "node:assert/strict";
import { test } from "node:test";
import { syncFolder } from "../../../src/storage/fs/atomic-write.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";

test("callers that arrive during the sync of a folder share the next sync, which begins after their changes", async () => {
  await using folder = await temporaryFolder();
  const first = syncFolder(folder.path);
  const second = syncFolder(folder.path);
  assert.notEqual(second, first);
  assert.equal(syncFolder(folder.path), second);
  await Promise.all([first, second]);
  const third = syncFolder(folder.path);
  assert.notEqual(third, second);
  await third;
});

test("a failed sync of a folder is the error of its callers only", async () => {
  await using folder = await temporaryFolder();
  const missing = `${folder.path}/missing`;
  const syncs = [syncFolder(missing), syncFolder(missing)];
  for (const sync of syncs) await assert.rejects(sync, { code: "ENOENT" });
  await assert.rejects(syncFolder(missing), { code: "ENOENT" });
});
