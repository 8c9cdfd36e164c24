import assert from "node:assert/strict";
import { test } from "node:test";
import { fits, kindsIn, typeOfKinds } from "../../../src/rows/kept-column-kinds.ts";
import { keptColumns } from "../../../src/rows/kept-columns.ts";

const ROW = { id: "1", error: { code: "EMPTY_TEXT", message: "empty" }, source: { uri: "file:///a", record: 0 } };

test("the type of a column holds all of its values", () => {
  const kindsOf = (...values: unknown[]) => kindsIn(values.map((value) => ({ ...ROW, input: { c: value } }))).get("c")!;
  assert.equal(typeOfKinds(kindsOf(1, null)), "integer");
  assert.equal(typeOfKinds(kindsOf(1, 0.5)), "number");
  assert.equal(typeOfKinds(kindsOf(1, "1")), "json");
  assert.equal(typeOfKinds(kindsOf({}, null)), "json");
  assert.equal(typeOfKinds(kindsOf(null)), "string");
  assert.equal(typeOfKinds(kindsOf(2 ** 60)), "number");
  const long = "9007199254740993";
  assert.equal(typeOfKinds(kindsOf(long, "x")), "string");
  assert.equal(typeOfKinds(kindsOf(1, long)), "integer");
  assert.equal(typeOfKinds(kindsOf(long)), "string");
  assert.equal(typeOfKinds(kindsOf(1, long, "x")), "json");
  assert.equal(fits("integer", kindsOf(1, null, long, "-9223372036854775808")), true);
  for (const other of ["9223372036854775808", "1", "09007199254740993", "x"])
    assert.equal(fits("integer", kindsOf(1, other)), false, other);
  assert.equal(fits("timestamp", kindsOf("2024-01-01")), true);
  for (const type of ["timestamp", "date"] as const) assert.equal(fits(type, kindsOf("2024-01-01", 1)), false);
  assert.equal(fits("integer", kindsOf(1, 0.5)), false);
  assert.equal(fits("number", kindsOf(1)), true);
});

test("a kept column with the name of another column gets a prefix, repeated until the name is free", () => {
  const names = keptColumns(
    new Map([
      ["id", "string"],
      ["input_id", "string"],
      ["x", "string"],
    ]),
  ).map(({ name }) => name);
  assert.deepEqual(names, ["input_input_id", "input_id", "x"]);
});
