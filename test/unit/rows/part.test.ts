import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { rowsDiffer } from "../../../src/outputs/verify/verify.ts";
import { encodePart, readPart } from "../../../src/rows/part.ts";
import type { Compactions } from "../../../src/runs/compactions.ts";
import type { RunLedger } from "../../../src/runs/ledger/ledger.ts";
import type { Job } from "../../../src/schemas/job.ts";
import { partKey } from "../../../src/schemas/names.ts";
import type { Row } from "../../../src/schemas/row.ts";
import type { Split } from "../../../src/schemas/split.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { type StepDeps, sliceSteps } from "../../../src/workers/slice/slice-steps.ts";
import { bytes, isError, text } from "../../helpers/store-conformance.ts";

const labeled: Row = {
  id: "1",
  label: "POSITIVE",
  score: 0.75,
  labels: [
    { label: "POSITIVE", score: 0.75 },
    { label: "NEGATIVE", score: 0.25 },
  ],
  source: { uri: "file:///a.csv", record: 0, line: 2 },
};
const failed: Row = {
  id: "2",
  error: { code: "EMPTY_TEXT", message: "no text" },
  source: { uri: "file:///a.csv", record: 1 },
};

test("a part's bytes, literally", () => {
  const part = encodePart([
    // Keys in another order than the schema's come out in the schema's.
    { input: { z: 1, a: null }, repaired: true, truncated: true, ...labeled },
    {
      source: failed.source,
      error: { retryable: true, message: "x\n\u2028\ud800", code: "FETCH_UNAVAILABLE" },
      id: "é",
    },
  ]);
  const expected =
    '{"id":"1","label":"POSITIVE","score":0.75,"labels":[{"label":"POSITIVE","score":0.75},{"label":"NEGATIVE","score":0.25}],"truncated":true,"repaired":true,"input":{"z":1,"a":null},"source":{"uri":"file:///a.csv","record":0,"line":2}}\n' +
    '{"id":"é","error":{"code":"FETCH_UNAVAILABLE","message":"x\\n\u2028\\ud800","retryable":true},"source":{"uri":"file:///a.csv","record":1}}\n';
  assert.equal(text(part.bytes), expected);
  assert.deepEqual(part.receipt, {
    rows: 2,
    errors: 1,
    bytes: Buffer.byteLength(expected),
    sha256: createHash("sha256").update(expected).digest("hex"),
  });
  assert.deepEqual(part.labels, { POSITIVE: 1 });
  assert.deepEqual(part.errorCodes, { FETCH_UNAVAILABLE: 1 });
});

test("the bytes can be transferred to a thread: they share their memory with nobody", () => {
  const part = encodePart([failed]);
  assert.equal(part.bytes.buffer.byteLength, part.bytes.length);
});

test("what is encoded is read back the same, whatever the strings", () => {
  // Any UTF-16, lone surrogates included, and names that objects have from elsewhere.
  const string = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 8 }).map((units) => String.fromCharCode(...units)),
    fc.constantFrom("__proto__", "constructor", "toString", "hasOwnProperty", "toJSON", "error", "\ufeff", "\n"),
  );
  const score = fc.double({ min: 0, max: 1, noNaN: true });
  const flag = fc.constant(true as const);
  const source = fc.record(
    { uri: string, record: fc.nat(), line: fc.integer({ min: 1 }) },
    { requiredKeys: ["uri", "record"], noNullPrototype: true },
  );
  const input = fc
    .array(fc.tuple(string, fc.oneof(string, fc.jsonValue({ noUnicodeString: false }).map(throughJson))))
    .map((entries) => Object.fromEntries(entries) as Record<string, unknown>);
  const labeledRow = fc.record(
    {
      id: string,
      label: string,
      score,
      labels: fc.array(fc.record({ label: string, score }, { noNullPrototype: true }), { minLength: 1, maxLength: 4 }),
      truncated: flag,
      repaired: flag,
      source,
      input,
    },
    { requiredKeys: ["id", "label", "score", "labels", "source"], noNullPrototype: true },
  );
  const error = fc.record(
    { code: fc.stringMatching(/^[A-Z][A-Z_]{0,9}$/), message: string, retryable: flag },
    { requiredKeys: ["code", "message"], noNullPrototype: true },
  );
  const errorRow = fc.record(
    { id: string, error, source, input },
    { requiredKeys: ["id", "error", "source"], noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(labeledRow, errorRow), { maxLength: 12 }), (rows: Row[]) => {
      const { bytes: encoded, ...summary } = encodePart(rows);
      assert.equal(Buffer.from(encoded).toString("utf8").isWellFormed(), true);
      const { rows: read, ...readSummary } = readPart(encoded);
      assert.deepEqual(read, rows);
      assert.deepEqual(readSummary, summary);
      const labels = new Map<string, number>();
      for (const row of rows) if ("label" in row) labels.set(row.label, (labels.get(row.label) ?? 0) + 1);
      assert.deepEqual(new Map(Object.entries(summary.labels)), labels);
      assert.equal(summary.receipt.errors, rows.filter((row) => "error" in row).length);
      assert.deepEqual(encodePart(read).bytes, encoded);
    }),
    { numRuns: 300 },
  );
});

test("a label called __proto__ is counted like any other", () => {
  const { labels } = encodePart(["__proto__", "constructor", "__proto__"].map((label) => ({ ...labeled, label })));
  assert.deepEqual(Object.entries(labels), [
    ["__proto__", 2],
    ["constructor", 1],
  ]);
  assert.equal(Object.getPrototypeOf(labels), Object.prototype);
});

test("bytes that are no part are refused with the line's number", () => {
  const good = encodePart([labeled, failed]).bytes;
  const line = text(good).split("\n")[0]!;
  const cases: [string, Uint8Array, RegExp][] = [
    ["no newline at the end", good.subarray(0, -1), /line 2: no newline/],
    ["cut in the middle", good.subarray(0, -20), /line 2/],
    ["a blank line at the end", bytes(`${text(good)}\n`), /line 3: blank/],
    ["a blank line before", bytes(`\n${text(good)}`), /line 1: blank/],
    ["a line of spaces", bytes(`${line}\n  \n`), /line 2/],
    ["not JSON", bytes(`${line}\n{\n`), /line 2/],
    ["not a row", bytes(`${line}\n${line}\n{"id":"3"}\n`), /line 3/],
    ["a key too many", bytes(`${line.replace('"id"', '"more":1,"id"')}\n`), /line 1.*more/s],
    ["a prototype", bytes(`${line.replace('"id"', '"__proto__":{},"id"')}\n`), /line 1/],
    ["a score above 1", bytes(`${line.replace("0.75", "1.5")}\n`), /line 1/],
    [
      "invalid UTF-8",
      Buffer.concat([good, Buffer.from(line.replace('"1"', '"\xff"'), "latin1"), bytes("\n")]),
      /line 3/,
    ],
    ["a byte order mark", bytes(`\ufeff${text(good)}`), /line 1/],
    ["NULs after a crash", new Uint8Array(4096), /line 1/],
  ];
  for (const [what, content, message] of cases)
    assert.throws(() => readPart(content), isError("PART_MISMATCH", message), what);
});

test("a row that could not be read again is not written", () => {
  const wrong = [
    { ...labeled, score: Number.NaN },
    { ...labeled, score: 1.0000001 },
    { ...labeled, labels: [] },
    { ...failed, error: { code: "EMPTY_TEXT", message: "x".repeat(4097) } },
  ];
  for (const row of wrong) assert.throws(() => encodePart([labeled, row]), isError("INTERNAL", /row 1 /));
});

test("500 rows are encoded in a few milliseconds", () => {
  const rows = Array.from({ length: 500 }, (_, record) => ({
    ...labeled,
    source: { uri: "file:///data/reviews.csv", record },
    input: { product: "a kettle", review: "It boils. ".repeat(20) },
  }));
  const times = Array.from({ length: 30 }, () => {
    const start = performance.now();
    encodePart(rows);
    return performance.now() - start;
  });
  // 2 ms on an idle core; generous, because others work on this machine.
  assert.ok(Math.min(...times) < 10, `${Math.min(...times)} ms`);
});

/** Values as JSON knows them: no -0, no prototype but the usual. */
function throughJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

test("rows are those of the planned ranges, each once and in order; of a sample, as many as were selected", () => {
  const at = (uri: string, ...records: number[]) =>
    records.map((record): Row => ({ id: "x", error: { code: "X", message: "" }, source: { uri, record } }));
  const planned = [
    { input: 1, first: 3, count: 2 },
    { input: 0, first: 5, count: 3, selected: 2 },
  ];
  const differ = (...rows: Row[][]) => rowsDiffer(rows.flat(), planned, ["a", "b"]);
  for (const sampled of [
    [5, 6],
    [5, 7],
    [6, 7],
  ])
    assert.equal(differ(at("b", 3, 4), at("a", ...sampled)), undefined);
  assert.match(differ(at("b", 3, 3), at("a", 5, 6))!, /^row 2 is record 3 of b, expected record 4 of b$/);
  assert.match(differ(at("a", 3, 4), at("a", 5, 6))!, /^row 1 is record 3 of a, expected record 3 of b$/);
  assert.match(differ(at("b", 3, 4), at("a", 7, 8))!, /^row 3 is record 7 of a, expected record 5 to 6 of a$/);
  assert.match(differ(at("b", 3, 4), at("a", 5, 8))!, /^row 4 is record 8 of a, expected record 6 to 7 of a$/);
  assert.match(differ(at("b", 3, 4), at("a", 6, 6))!, /^row 4 is record 6 of a, expected record 7 of a$/);
  assert.match(differ(at("b", 3, 4), at("a", 5))!, /^row 4 is missing, expected record 6 to 7 of a$/);
  assert.equal(differ(at("b", 3, 4), at("a", 5, 6, 7)), "5 rows, expected 4");
});

const RUN = "0123456789abcdef";
const jobOf = (job: Partial<Job>) =>
  ({ run: RUN, slice: 0, output: "memory:x", key: partKey(RUN, 0, true), events: "none", ...job }) as Job;

test("the part of a slice of splits is adopted where it has as many rows of each as were planned, and no others", async () => {
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
      isError("PART_MISMATCH", /not the records of this slice/),
      JSON.stringify(rows),
    );
});

test("what kept columns hold is noted before the commit, which may be the last: that of a part that was adopted too", async () => {
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
