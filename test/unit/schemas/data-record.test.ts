import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { parseEvent } from "../../../src/schemas/event.ts";
import { dataRecord } from "../../../src/schemas/item.ts";
import { RowSchema } from "../../../src/schemas/row.ts";

const NAMES = ["__proto__", "constructor", "toString", "", "\u0000", "POSITIVE"];
const json = (value: unknown) =>
  `{${NAMES.map((name) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(",")}}`;

test("a record keeps every key, whatever its name", () => {
  const parsed = dataRecord(z.int()).parse(JSON.parse(json(3)));
  assert.deepEqual(Object.keys(parsed), NAMES);
  assert.equal(JSON.stringify(parsed), json(3));
});

test("a record's values are checked, and an error names the key", () => {
  const { error } = dataRecord(z.int().nonnegative()).safeParse(JSON.parse('{"A":1,"__proto__":-1}'));
  assert.deepEqual(
    error?.issues.map(({ path }) => path),
    [["__proto__"]],
  );
  for (const wrong of [null, [], 3, "x"]) assert.equal(dataRecord(z.int()).safeParse(wrong).success, false);
});

test("events and rows keep such labels and columns", () => {
  const model = { id: "m", digest: "0".repeat(64) };
  const row = `{"id":"1","label":"__proto__","score":1,"labels":[{"label":"__proto__","score":1}],"input":${json("x")},"source":{"uri":"u:","record":0}}`;
  assert.equal(JSON.stringify(RowSchema.parse(JSON.parse(row)).input), json("x"));
  const event = `{"v":1,"id":"a","run":"0123456789abcdef","slice":0,"output":"o","part":"p","model":${JSON.stringify(model)},"rows":1,"errors":0,"labels":${json(1)},"items":[${row}]}`;
  const parsed = parseEvent(event);
  assert.equal(JSON.stringify(parsed?.labels), json(1));
  assert.equal(JSON.stringify(parsed?.items?.[0]?.input), json("x"));
});
