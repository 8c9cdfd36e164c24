import assert from "node:assert/strict";
import { test } from "node:test";
import { parquetReadObjects } from "hyparquet";
import { decodeDataFile, encodeDataFile } from "../../../src/rows/data-file.ts";
import { keptColumns } from "../../../src/rows/kept-columns.ts";
import { encodePart } from "../../../src/rows/part.ts";
import { COMPRESSIONS, PLAIN_OUTPUT } from "../../../src/schemas/output.ts";
import type { Row } from "../../../src/schemas/row.ts";

const labels = [
  { label: "A", score: 0.75 },
  { label: "B", score: 0.25 },
];
const source = { uri: "file:///a", record: 0, line: 2 };
const input = {
  n: 7,
  long: "9007199254740993",
  at: "2024-01-02T03:04:05.123456Z",
  local: "2024-01-02T03:04:05.123456",
  day: "2024-01-02",
  id: "mine",
  any: { x: [1] },
  half: 0.5,
};
const labeled: Row = { id: "1", label: "A", score: 0.75, labels, truncated: true, input, source };
const failed: Row = {
  id: "2",
  error: { code: "EMPTY_TEXT", message: "no text" },
  source: { uri: "file:///a", record: 1 },
};

test("a Parquet file has typed columns, and null where a row has no value", async () => {
  const kept = keptColumns(
    new Map([
      ["n", "integer"],
      ["long", "integer"],
      ["at", "timestamp"],
      ["local", "datetime"],
      ["day", "date"],
      ["id", "string"],
      ["any", "json"],
      ["half", "number"],
    ]),
  );
  const output = { ...PLAIN_OUTPUT, format: "parquet" as const };
  const bytes = await encodeDataFile([encodePart([labeled, failed]).bytes], output, kept);
  const rows = await parquetReadObjects({ file: new Uint8Array(bytes).buffer });
  assert.deepEqual(rows[0], {
    ...{ id: "1", label: "A", score: 0.75, labels, truncated: true, repaired: null, error_code: null },
    ...{ error_message: null, source_uri: "file:///a", source_record: 0n, source_line: 2n, n: 7n },
    long: 9007199254740993n,
    ...{
      local: new Date("2024-01-02T03:04:05.123Z"),
      at: new Date("2024-01-02T03:04:05.123Z"),
      day: new Date("2024-01-02"),
      input_id: "mine",
    },
    ...{ any: '{"x":[1]}', half: 0.5 },
  });
  assert.deepEqual(rows[1]!.error_code, "EMPTY_TEXT");
  for (const name of ["label", "labels", "n"]) assert.equal(rows[1]![name] ?? null, null);
});

test("each format is read back row by row, in order, from many pieces", async () => {
  const many = Array.from({ length: 25_000 }, (_, i): Row => ({ ...labeled, source: { ...source, record: i } }));
  const pieces = [encodePart(many.slice(0, 3)).bytes, encodePart(many.slice(3)).bytes, encodePart([failed]).bytes];
  for (const form of [{ format: "parquet" as const }, ...COMPRESSIONS.map((compression) => ({ compression }))]) {
    const output = { ...PLAIN_OUTPUT, ...form };
    const bytes = await encodeDataFile(pieces, output, []);
    const rows = (await Array.fromAsync(decodeDataFile(bytes, output))).flat();
    assert.equal(rows.length, 25_001);
    assert.ok(rows.slice(0, -1).every(({ record, label }, i) => record === i && label === "A"));
    assert.deepEqual(rows.at(-1), { uri: "file:///a", record: 1, errorCode: "EMPTY_TEXT" });
  }
});
