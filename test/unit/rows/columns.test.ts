import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { parquetReadObjects } from "hyparquet";
import { z } from "zod";
import { isOrderedRow, PARQUET_COLUMNS } from "../../../src/rows/columns.ts";
import { decodeDataFile, encodeDataFile } from "../../../src/rows/data-file.ts";
import { fileRowOf } from "../../../src/rows/file-row.ts";
import { encodePart, readPart } from "../../../src/rows/part.ts";
import { PLAIN_OUTPUT } from "../../../src/schemas/output.ts";
import { ErrorRowSchema, LabeledRowSchema, ROW_COLUMNS, type Row, RowSchema } from "../../../src/schemas/row.ts";
import { arbitraryOf } from "../../helpers/arbitrary.ts";

// No column is named here: a new one is in all of these tests.
const ROW = fc.oneof(arbitraryOf(LabeledRowSchema), arbitraryOf(ErrorRowSchema)) as fc.Arbitrary<Row>;
const COLUMNS = Object.keys(ROW_COLUMNS);

/** Fields that a part has and a Parquet file has not. */
const NOT_IN_PARQUET = ["error_retryable"];

/** The values of a row by the names of Parquet columns: an object has a column for each field. `input` is the caller's. */
function flat(row: Row): Map<string, unknown> {
  const columns = Object.entries(ROW_COLUMNS).filter(([column]) => column !== "input");
  return new Map(
    columns.flatMap(([column, schema]) => {
      const value = (row as Record<string, unknown>)[column];
      if (!(schema instanceof z.ZodObject)) return [[column, value ?? null] as const];
      const fields = Object.keys(schema.shape).map((field) => [`${column}_${field}`, field] as const);
      return fields.map(([name, field]) => [name, (value as Record<string, unknown>)?.[field] ?? null] as const);
    }),
  );
}

const NEAR = fc.constantFrom<unknown>(
  true,
  false,
  undefined,
  null,
  0,
  1,
  -1,
  0.5,
  Number.NaN,
  Infinity,
  "",
  "x",
  "X",
  [],
  {},
);

/** A column of a row, or a field in one, has another value or is new. */
const CHANGED = fc
  .tuple(ROW, fc.constantFrom(...COLUMNS, "more"), fc.oneof(NEAR, fc.anything()), fc.boolean(), fc.nat())
  .map(([row, column, value, isInside, pick]) => {
    const changed: Record<string, unknown> = structuredClone(row);
    const inside = [changed[column]].flat()[0] as Record<string, unknown> | undefined;
    if (!isInside || typeof inside !== "object") return { ...changed, [column]: value };
    const names = [...Object.keys(inside), "more"];
    inside[names[pick % names.length]!] = value;
    return changed;
  });

/** The columns of a row in another order. */
const SHUFFLED = ROW.chain((row) =>
  fc
    .shuffledSubarray(Object.entries(row), { minLength: Object.keys(row).length })
    .map((all) => Object.fromEntries(all)),
);

test("each row that zod accepts in the table's order passes the fast check", () => {
  fc.assert(fc.property(ROW, (row) => isOrderedRow(row) && RowSchema.safeParse(row).success));
});

test("what the fast check accepts, zod accepts and returns unchanged", () => {
  let accepted = 0;
  fc.assert(
    fc.property(fc.oneof(CHANGED, SHUFFLED), (value) => {
      if (!isOrderedRow(value)) return;
      accepted += 1;
      assert.equal(JSON.stringify(RowSchema.parse(value)), JSON.stringify(value));
    }),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 50, `${accepted} accepted`);
});

test("a part holds every column of a row, in the table's order, and gives it back", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(ROW, SHUFFLED), { minLength: 1, maxLength: 5 }), (rows) => {
      const { bytes } = encodePart(rows as Row[]);
      assert.deepEqual(readPart(bytes).rows, rows);
      const lines = Buffer.from(bytes).toString().trimEnd().split("\n");
      for (const [i, line] of lines.entries())
        assert.deepEqual(
          Object.keys(JSON.parse(line)),
          COLUMNS.filter((column) => column in (rows[i] as object)),
        );
    }),
  );
});

test("every column and field of the table has a Parquet column, in the table's order, except those named here", () => {
  const all = flat({} as Row);
  for (const name of NOT_IN_PARQUET) assert.ok(all.delete(name), name);
  assert.deepEqual(
    PARQUET_COLUMNS.map(({ name }) => name),
    [...all.keys()],
  );
});

test("a Parquet file holds every column of a row, and gives it back", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(ROW, { minLength: 1, maxLength: 5 }), async (rows) => {
      const output = { ...PLAIN_OUTPUT, format: "parquet" as const };
      const bytes = await encodeDataFile([encodePart(rows).bytes], output, []);
      const found = await parquetReadObjects({ file: new Uint8Array(bytes).buffer });
      for (const [i, row] of rows.entries()) {
        const expected = flat(row);
        for (const name of NOT_IN_PARQUET) expected.delete(name);
        const values = Object.entries(found[i]!).map(([name, value]) => [name, withoutBigInt(value)] as const);
        assert.deepEqual(Object.fromEntries(values), Object.fromEntries(expected));
      }
      const proofs = (await Array.fromAsync(decodeDataFile(bytes, output))).flat();
      assert.deepEqual(proofs, rows.map(fileRowOf));
    }),
    { numRuns: 50 },
  );
});

test("the documentation names every Parquet column", () => {
  const text = readFileSync(new URL("../../../docs/runs.md", import.meta.url), "utf8");
  for (const { name } of PARQUET_COLUMNS) assert.ok(text.includes(`\`${name}\``), name);
});

function withoutBigInt(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : (value ?? null);
}
