import assert from "node:assert/strict";
import { appendFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { openImageSource } from "../../../src/sources/open-images.ts";
import { openTextSource } from "../../../src/sources/open-texts.ts";
import { AUTO } from "../../helpers/inputs/read-source.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";

for (const open of [openTextSource, openImageSource])
  test(`${open.name}: an input that changes while it is read fails at its end`, async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "list.txt");
    await writeFile(path, "a.png\nb.png\n");
    const source = await open(path, { ...AUTO, keep: [] });
    assert.equal((await Array.fromAsync(source.records())).length, 2, "an unchanged input does not fail");
    await appendFile(path, "c.png\n");
    await assert.rejects(Array.fromAsync(source.records()), { code: "INPUT_CHANGED", message: /list\.txt changed/ });
    const records = (await open(path, { ...AUTO, keep: [] })).records()[Symbol.asyncIterator]();
    await records.next();
    await rm(path);
    await assert.rejects(drain(records), { code: "INPUT_CHANGED", message: /it no longer exists/ });
  });

async function drain(records: AsyncIterator<unknown>): Promise<void> {
  for (let next = await records.next(); !next.done; next = await records.next());
}
