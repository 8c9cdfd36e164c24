import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { encodePart, readPart } from "../../../src/rows/part.ts";
import type { Row } from "../../../src/schemas/row.ts";
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

test("the bytes of a part, literally", () => {
  const part = encodePart([
    // The keys are written in the schema's order, whatever their order in the row.
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

test("the bytes can be transferred to a thread: they share no memory with other buffers", () => {
  const part = encodePart([failed]);
  assert.equal(part.bytes.buffer.byteLength, part.bytes.length);
});

test("a part is read back unchanged, with any strings in it", () => {
  // Any UTF-16, lone surrogates included, and names of properties that every object has.
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

test("bytes that are not a part are refused with the line number", () => {
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

test("a row that could not be read back is not written", () => {
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
  // It takes 2 ms on an idle core. The bound is generous, because the machine may be busy.
  assert.ok(Math.min(...times) < 10, `${Math.min(...times)} ms`);
});

/** A value as JSON has it: without -0, and with the prototype of plain objects. */
function throughJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}
