import assert from "node:assert/strict";
import { test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import type { Row } from "../../../src/schemas/row.ts";
import { type Evidence, NO_EVIDENCE, type Span } from "../../../src/workers/crashes/evidence.ts";
import { toItemError } from "../../../src/workers/items/item-error.ts";
import { type LabelItems, labelIsolated, labelTogether } from "../../../src/workers/slice/label-items.ts";
import type { LoadedJob } from "../../../src/workers/slice/load-items.ts";

const RUN = "0123456789abcdef";
const JOB: LoadedJob = {
  v: 3,
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

test("each item has its row, in order, malformed items too", async () => {
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

test("isolated: each piece is noted before it runs, and a condemned item becomes a row in error without running", async () => {
  const trace: string[] = [];
  const label: LabelItems = async (items, ...rest) => {
    trace.push(`run ${items.map((item) => item.text)}`);
    return upper(items, ...rest);
  };
  const note = async (span: Span | null) => void trace.push(`note ${span}`);
  const verdicts = (rows: Row[]) => rows.map((row) => ("error" in row ? row.error.code : row.label));

  // Pieces of two: the second record of the first piece is malformed.
  assert.deepEqual(verdicts(await labelIsolated(JOB, NO_EVIDENCE, label, note, never)), [
    "GOOD",
    "RECORD_INVALID",
    "BAD",
  ]);
  assert.deepEqual(trace.splice(0), ["note 0,2", "run good", "note 2,3", "run bad", "note null"]);

  const at: Span = [0, 1];
  const condemned: Evidence = {
    crashes: [
      { by: "a", at, after: 1 },
      { by: "b", at, after: 2 },
    ],
    through: [[2, 3]],
  };
  const rows = await labelIsolated(JOB, condemned, label, note, never);
  assert.deepEqual(verdicts(rows), ["ITEM_CRASHED_WORKER", "RECORD_INVALID", "BAD"]);
  assert.deepEqual(trace, ["note null", "run bad", "note null"], "items that are done are not suspected");
  assert.equal("error" in rows[0]! && rows[0].error.retryable, true);
});

test("infrastructure failures become no row", () => {
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
