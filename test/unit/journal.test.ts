import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LossJournal } from "../../src/workers/journal.ts";
import { lossRecordConformance } from "../helpers/loss-record-conformance.ts";

async function folder() {
  const path = await mkdtemp(join(tmpdir(), "journal-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

lossRecordConformance("journal", async () => {
  const place = await folder();
  let last: LossJournal | undefined;
  return {
    async reopen() {
      // A process that dies closes its file and writes nothing more.
      last?.close();
      last = new LossJournal(join(place.path, "_inflight"));
      return last;
    },
    async close() {
      last?.forget();
      last?.close();
      await place[Symbol.asyncDispose]();
    },
  };
});

test("a line torn by the death of the process spoils no other", async () => {
  await using place = await folder();
  const path = join(place.path, "_inflight");
  const ref = { run: "0123456789abcdef", slice: 1 };
  const first = new LossJournal(path);
  await first.take(ref);
  first.close();
  appendFileSync(path, "tak");
  const second = new LossJournal(path);
  assert.equal((await second.take(ref)).times, 1);
  second.forget();
  second.close();
  assert.deepEqual(await readdir(place.path), []);
});
