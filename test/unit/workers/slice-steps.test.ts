import assert from "node:assert/strict";
import { test } from "node:test";
import { encodePart } from "../../../src/rows/part.ts";
import type { Compactions } from "../../../src/runs/compactions.ts";
import type { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import type { Job } from "../../../src/schemas/job.ts";
import { partKey } from "../../../src/schemas/names.ts";
import type { Row } from "../../../src/schemas/row.ts";
import type { Split } from "../../../src/schemas/split.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { type StepDeps, sliceSteps } from "../../../src/workers/slice/slice-steps.ts";
import { isError } from "../../helpers/store-conformance.ts";

const source = { uri: "file:///a.csv", record: 0 };
const labeled: Row = { id: "1", label: "A", score: 0.75, labels: [{ label: "A", score: 0.75 }], source };
const failed: Row = { id: "2", error: { code: "EMPTY_TEXT", message: "no text" }, source };
const RUN = "0123456789abcdef";
const jobOf = (job: Partial<Job>) =>
  ({ run: RUN, slice: 0, output: "memory:x", key: partKey(RUN, 0, true), events: "none", ...job }) as Job;

test("the existing part of a slice of splits is adopted if it has the planned number of rows of each split, and no others", async () => {
  const store = new MemoryStore("adopted");
  const split = (uri: string, first: number, count: number, selected?: number) =>
    ({ input: { uri }, first, count, ...(selected === undefined ? {} : { selected }) }) as unknown as Split;
  const job = jobOf({ splits: [split("a", 3, 2), split("b", 0, 5, 2)] });
  const steps = sliceSteps({} as StepDeps);
  const adopt = async (...records: [string, number][]) => {
    const rows = records.map(([uri, record]): Row => ({ ...failed, source: { uri, record } }));
    await store.put(job.key, encodePart(rows).bytes);
    return (await steps.adopt(store, job))!.receipt.rows;
  };
  assert.equal(await steps.adopt(store, job), undefined);
  assert.equal(await adopt(["a", 3], ["a", 4], ["b", 1], ["b", 4]), 4);
  for (const rows of [
    [["a", 3]],
    [
      ["a", 3],
      ["a", 4],
      ["b", 1],
    ],
    [
      ["a", 3],
      ["a", 4],
      ["b", 1],
      ["b", 3],
      ["b", 4],
    ],
    [
      ["a", 3],
      ["a", 3],
      ["b", 1],
      ["b", 4],
    ],
    [
      ["a", 3],
      ["a", 4],
      ["b", 4],
      ["b", 1],
    ],
    [
      ["a", 3],
      ["a", 4],
      ["b", 1],
      ["b", 5],
    ],
    [
      ["a", 2],
      ["a", 3],
      ["b", 1],
      ["b", 4],
    ],
    [
      ["a", 3],
      ["a", 4],
      ["a", 1],
      ["b", 4],
    ],
  ] as [string, number][][])
    await assert.rejects(
      adopt(...rows),
      isError("PART_MISMATCH", /expected the records of this slice/),
      JSON.stringify(rows),
    );
});

test("the kinds of the kept columns are recorded before the commit, also for an adopted part", async () => {
  const calls: string[] = [];
  const parts: Partial<StepDeps> = {
    compactions: { noteColumns: async () => void calls.push("columns") } as Partial<Compactions> as Compactions,
    ledger: {
      commit: async () => {
        calls.push("commit");
        return { outcome: "committed", complete: true };
      },
    } as Partial<RunLedger> as RunLedger,
    finalize: async () => void calls.push("finalize"),
  };
  const { bytes: _bytes, ...part } = encodePart([labeled]);
  assert.equal(await sliceSteps(parts as StepDeps).commit(jobOf({}), { ...part, rows: [labeled] }), "done");
  assert.deepEqual(calls, ["columns", "commit", "finalize"]);
});
