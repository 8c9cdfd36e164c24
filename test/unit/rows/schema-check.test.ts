import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { z } from "zod";
import { compileCheck } from "../../../src/rows/schema-check.ts";

test("the bounds and patterns of a schema are checked", () => {
  const cases: [z.ZodType, accepted: unknown[], refused: unknown[]][] = [
    [z.string(), ["", "x"], [1, null, undefined]],
    [z.string().min(1).max(2), ["a", "ab"], ["", "abc"]],
    [z.string().regex(/^a/), ["a"], ["b"]],
    [z.number(), [0.5, -1e300], [Number.NaN, Infinity, -Infinity, "1"]],
    [z.number().min(0).max(1), [0, 0.5, 1], [-0.1, 1.1]],
    [z.int().positive(), [1], [0, 0.5, 2 ** 53]],
    [z.int().lt(3), [2, -5], [3]],
    [z.literal(true), [true], [false, undefined]],
    [z.literal(true).optional(), [true, undefined], [false, null]],
    [z.array(z.string()).min(1), [["a"], ["a", "b"]], [[], [1], "a"]],
    [
      z.strictObject({ a: z.string(), b: z.int().optional() }),
      [{ a: "" }, { a: "", b: 1 }],
      [{ b: 1 }, { a: "", c: 1 }],
    ],
    [z.union([z.string(), z.int()]), ["a", 1], [0.5]],
    [z.custom((value) => value === 3), [3], [4]],
  ];
  for (const [schema, accepted, refused] of cases) {
    const check = compileCheck(schema);
    for (const value of accepted) assert.equal(check(value), true, `${schema.type} accepts ${JSON.stringify(value)}`);
    for (const value of refused) {
      assert.equal(check(value), false, `${schema.type} refuses ${JSON.stringify(value)}`);
      assert.equal(schema.safeParse(value).success, false);
    }
  }
});

test("keys in another order than the schema's are left to zod", () => {
  const schema = z.strictObject({ a: z.string(), b: z.string() });
  assert.equal(compileCheck(schema)({ b: "", a: "" }), false);
});

test("a schema of which more is required than the check knows never accepts a value that zod refuses or changes", () => {
  const schemas: z.ZodType[] = [
    z.string().trim(),
    z.string().toUpperCase(),
    z.string().startsWith("a"),
    z.string().regex(/a/g),
    z.string().regex(/a/).regex(/b/),
    z.string().refine((value) => value.length > 2),
    z.string().transform((value) => value.length),
    z.string().default("a"),
    z.string().catch("a"),
    z.string().nullable(),
    z.string().exactOptional(),
    z.coerce.string(),
    z.coerce.number(),
    z.uuid(),
    z.iso.datetime(),
    z.number().multipleOf(2),
    z.number().positive(),
    z.int32(),
    z.bigint(),
    z.literal(["a", "b"]),
    z.literal(1).refine(() => false),
    z.array(z.string()).length(2),
    z.array(z.string()).refine((value) => value.length === 3),
    z.object({ a: z.string() }),
    z.looseObject({ a: z.string() }),
    z.strictObject({ a: z.string().optional() }).refine(({ a }) => a !== undefined),
    z.custom((value) => value === "a").refine(() => false),
    z.union([z.string().trim(), z.string()]),
    z.union([z.strictObject({ a: z.string().trim() }), z.strictObject({ a: z.string() })]),
    z.record(z.string(), z.string()),
    z.tuple([z.string()]),
    z.enum(["a", "b"]),
  ];
  const checks = schemas.map((schema) => [schema, compileCheck(schema)] as const);
  const near = fc.constantFrom(
    "a",
    "b",
    " a",
    "ab",
    "A",
    1,
    2,
    -2,
    0,
    "1",
    [],
    ["a"],
    ["a", "b"],
    {},
    { a: "a" },
    { a: " a" },
  );
  fc.assert(
    fc.property(fc.oneof(near, fc.anything()), (value) => {
      for (const [schema, check] of checks) {
        if (!check(value)) continue;
        const { success, data } = schema.safeParse(value);
        assert.ok(success, schema.type);
        assert.deepEqual(data, value, schema.type);
      }
    }),
  );
});
