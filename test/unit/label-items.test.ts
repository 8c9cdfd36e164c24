import assert from "node:assert/strict";
import { test } from "node:test";
import { LabelmillError } from "../../src/errors.ts";

import { type LabelItems, labelOneByOne, labelTogether, toItemError } from "../../src/workers/label-items.ts";
import type { LoadedJob } from "../../src/workers/loaded-job.ts";

const RUN = "0123456789abcdef";
const JOB: LoadedJob = {
  v: 2,
  run: RUN,
  slice: 0,
  model: { id: "m", digest: "0".repeat(64), task: "text-classification" },
  output: "memory:x",
  key: "part-0000000-01234567.jsonl",
  topK: 1,
  events: "none",
  sources: ["file:///a.csv", "file:///b.csv"],
  items: [
    { id: "a", source: 0, record: 8, line: 10, text: "good", input: { stars: "5" }, repaired: true },
    { id: "a", source: 0, record: 9, error: { code: "RECORD_INVALID", message: "3 columns" } },
    { id: "c", source: 1, record: 0, text: "bad" },
  ],
};
const upper: LabelItems = async (items) =>
  items.map((item) => ({
    labels: [{ label: item.text!.toUpperCase(), score: 1 }],
    ...(item.id === "c" ? { truncated: true } : {}),
  }));
const never = new AbortController().signal;

test("each item has its row, in order, the malformed ones in their place", async () => {
  assert.deepEqual(await labelTogether(JOB, upper, never), [
    {
      id: "a",
      label: "GOOD",
      score: 1,
      labels: [{ label: "GOOD", score: 1 }],
      repaired: true,
      input: { stars: "5" },
      source: { uri: "file:///a.csv", record: 8, line: 10 },
    },
    { id: "a", error: { code: "RECORD_INVALID", message: "3 columns" }, source: { uri: "file:///a.csv", record: 9 } },
    {
      id: "c",
      label: "BAD",
      score: 1,
      labels: [{ label: "BAD", score: 1 }],
      truncated: true,
      source: { uri: "file:///b.csv", record: 0 },
    },
  ]);
});

test("item by item: each is noted before it runs, one that killed the process becomes an error row unrun", async () => {
  const trace: string[] = [];
  const label: LabelItems = async (items, ...rest) => {
    trace.push(`run ${items.map((item) => item.text)}`);
    return upper(items, ...rest);
  };
  const losses = { times: 2, crashedOn: new Set([0]) };
  const rows = await labelOneByOne(JOB, losses, label, async (index) => void trace.push(`note ${index}`), never);
  assert.deepEqual(trace, ["note 2", "run bad", "note 3"], "nothing is blamed for what happens after the last item");
  assert.deepEqual(
    rows.map((row) => ("error" in row ? row.error.code : row.label)),
    ["ITEM_CRASHED_WORKER", "RECORD_INVALID", "BAD"],
  );
});

test("infrastructure failures are nobody's row", () => {
  assert.deepEqual(toItemError(new LabelmillError("FETCH_UNAVAILABLE", "no answer")), {
    code: "FETCH_UNAVAILABLE",
    message: "no answer",
    retryable: true,
  });
  for (const error of [
    new Error("?"),
    new LabelmillError("INFERENCE_FAILED", "lost"),
    new LabelmillError("ABORTED", "stop"),
  ])
    assert.throws(() => toItemError(error), error);
});
