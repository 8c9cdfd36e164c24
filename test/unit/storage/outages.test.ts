import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Outages } from "../../../src/storage/health/outages.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import type { ObjectStore } from "../../../src/storage/store.ts";
import { StoreError } from "../../../src/storage/store-error.ts";
import { OutageAwareStore } from "../../../src/workers/outages/outage-aware-store.ts";
import { OutageBuffer } from "../../../src/workers/outages/outage-buffer.ts";
import { LogLines } from "../../helpers/log-lines.ts";

const TIMES = { limitMs: 60_000, refusedLimitMs: 400, firstProbeMs: 10, mostProbeMs: 40 };

/** A folder where probes succeed, and a slice whose part is refused while `isRefused` returns true. */
async function refusingFolder(t: TestContext, isRefused: () => boolean, refusedLimitMs = TIMES.refusedLimitMs) {
  const folder = await mkdtemp(join(tmpdir(), "labelmill-outages-"));
  t.after(() => rm(folder, { recursive: true }));
  const uri = pathToFileURL(`${folder}/`).href;
  const reported = new LogLines();
  const s3 = new S3();
  const outages = new Outages(s3, { ...TIMES, refusedLimitMs, log: (level, line) => reported.log[level](line) });
  t.after(() => {
    outages[Symbol.dispose]();
    s3.close();
  });
  let writes = 0;
  const store = {
    uri,
    conditionalWrites: true,
    putIfAbsent: async () => {
      writes += 1;
      if (!isRefused()) return true;
      const options = { cause: undefined, retryable: true, key: `${folder}/_parts/part-0` };
      throw new StoreError("EDQUOT", { ...options, trouble: { kind: "refused", certain: true } });
    },
  } as unknown as ObjectStore;
  const patient = new OutageAwareStore(store, outages, new OutageBuffer(1000), t.signal, () => {});
  const put = () => patient.putIfAbsent("_parts/part-0", new Uint8Array(10));
  return { put, outages, reported, count: (pattern: RegExp) => reported.warned(pattern).length, writes: () => writes };
}

test("a folder that accepts a probe but no part is given up after the limit, and the log stays short", {
  timeout: 20_000,
}, async (t) => {
  const { put, count, reported, writes } = await refusingFolder(t, () => true);
  await assert.rejects(put(), { code: "STORE_FAILED", message: "EDQUOT" });
  assert.equal(count(/longer than allowed/), 1);
  assert.ok(count(/is back after/) <= 1, reported.warned(/./).join("\n"));
  assert.ok(reported.lines.length <= 4, reported.warned(/./).join("\n"));
  assert.ok(writes() <= 60, `${writes()} writes`);
  await assert.rejects(put(), { code: "STORE_FAILED" });
  assert.equal(count(/longer than allowed/), 1, "a second failure soon after is part of the outage that was given up");
});

test("a part that works ends the outage of a folder whose probe was wrong", { timeout: 20_000 }, async (t) => {
  let refused = true;
  const { put, outages, count, reported } = await refusingFolder(t, () => refused, 60_000);
  const putting = put();
  await reported.until(/became unavailable at/, 2);
  refused = false;
  assert.equal(await putting, true);
  assert.deepEqual(outages.list(), []);
  assert.equal(count(/is back after/), count(/became unavailable at/), reported.warned(/./).join("\n"));
});
