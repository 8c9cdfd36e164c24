import assert from "node:assert/strict";
import { test } from "node:test";
import { workerLines } from "../../../../src/cli/service/worker-lines.ts";
import type { ModelWork } from "../../../../src/schemas/worker.ts";
import { modelWork, servedModel, workerInfo } from "../../../helpers/runs/worker-info.ts";

const WORK: ModelWork = {
  threads: 2,
  intraOpThreads: 1,
  busy: { sinceStart: 0.414, lastMinute: 0.973 },
  paddingEfficiency: 0.96,
  meanBatch: 30,
  cuts: { full: 90, drained: 8, lengths: 2 },
  budgets: { 16: 512, 64: 1024 },
  settled: true,
  depth: 12,
  stages: {
    wait: { count: 6, meanMs: 1234.5 },
    fetch: { count: 0, meanMs: null },
    prepare: { count: 3000, meanMs: 0.0512 },
    queue: { count: 3000, meanMs: 40.25 },
    infer: { count: 3000, meanMs: 0.19 },
    write: { count: 6, meanMs: 3.2 },
  },
};

function lines(work: ModelWork | undefined): string[] {
  const model = servedModel({ id: "m", digest: "1".repeat(64), batches: 100, items: 3000, held: 33, work });
  return workerLines(workerInfo({ id: "a".repeat(16), host: "there", pid: 7, models: [model] }));
}

test("status shows each model of a worker, and the state of its work", () => {
  assert.deepEqual(lines(WORK), [
    "aaaaaaaaaaaaaaaa  there:7  m@11111111 on cpu, 2 slots, rate not measured yet, 30.0 items a batch, 33 items in work (12 waiting)",
    "  busy 97 % of the last minute, 41 % since the start · padding efficiency 96 % · cut 90 % full, 8 % drained, 2 % lengths",
    "  threads 2 × 1, budgets 512 (up to 16), 1024 (up to 64), settled",
    "  ms: wait 1235/slice · prepare 0.051/item · queue 40.3/item · infer 0.190/item · write 3.2/slice",
  ]);
});

test("values that are not measured yet, or not reported, are not invented", () => {
  assert.deepEqual(lines(modelWork()).slice(1), [
    "  busy – of the last minute, – since the start · padding efficiency – · cut nothing yet",
    "  threads 1 × 1, budgets none yet, still searching",
  ]);
  assert.equal(lines(undefined).length, 1);
});

test("sidecars and tags are counted, and a worker that takes no current jobs is named", () => {
  const deliveries = {
    sidecars: { written: 12, superseded: 1, refused: 0 },
    tags: { written: 0, superseded: 0, refused: 2, full: 0 },
    lastRefused: { to: "tags", at: "2026-11-29T12:00:00.000Z", uri: "s3://b/x", code: "NOT_GRANTED", message: "no" },
  } as const;
  const models = [servedModel({ work: undefined })];
  assert.deepEqual(workerLines(workerInfo({ models, deliveries, jobVersions: undefined })).slice(1), [
    "  takes no jobs of version 3: update labelmill there",
    "  sidecars: 12 written, 1 superseded · tags: 2 refused · last refused: s3://b/x (NOT_GRANTED)",
  ]);
});

test("a store that is not available is shown with the reason and the number of kept slices", () => {
  const since = new Date(2026, 10, 29, 12, 3, 10);
  const nextTryAt = new Date(Date.now() + 8_000).toISOString();
  const outage = { place: "s3://labels", kind: "outage", reason: "nothing listens there", kept: 3 } as const;
  const info = workerInfo({ outages: [{ ...outage, since: since.toISOString(), nextTryAt }] });
  assert.equal(
    workerLines(info).at(-1),
    "  store s3://labels has been unavailable since 12:03:10: nothing listens there; 3 labeled slices kept, next try in 8 s",
  );
});
