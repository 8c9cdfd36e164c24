import assert from "node:assert/strict";
import { test } from "node:test";
import { rowsDiffer } from "../../../src/outputs/verify/planned-rows.ts";
import { RecordSet } from "../../../src/outputs/verify/record-set.ts";
import type { Row } from "../../../src/schemas/row.ts";

test("rows must be those of the planned ranges, each once and in order; of a sample, the selected number", () => {
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

test("each record must occur once, in order, and the selected number of them", () => {
  const records = new RecordSet(
    [
      { input: 0, first: 5, count: 3 },
      { input: 1, first: 0, count: 10, selected: 2 },
    ],
    ["a", "b"],
  );
  records.begin();
  assert.equal(records.add({ uri: "a", record: 5 }), undefined);
  assert.match(records.add({ uri: "a", record: 5 })!, /has two rows/);
  assert.match(records.add({ uri: "a", record: 8 })!, /not in the plan/);
  assert.equal(records.add({ uri: "b", record: 9 }), undefined);
  assert.match(records.add({ uri: "b", record: 3 })!, /out of order/);
  assert.deepEqual([...records.missing()], ["1 of records 5 to 7 of a, expected 3"]);
});
