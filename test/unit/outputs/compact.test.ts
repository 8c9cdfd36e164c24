import assert from "node:assert/strict";
import { test } from "node:test";
import { columnTypes } from "../../../src/outputs/column-types.ts";
import { escapePartition, labelFolder } from "../../../src/outputs/partition.ts";
import { sliceRanges } from "../../../src/outputs/slice-ranges.ts";
import type { ColumnKind } from "../../../src/rows/kept-column-kinds.ts";
import type { Compactions } from "../../../src/runs/compactions.ts";
import type { RunFile } from "../../../src/schemas/run.ts";

test("a column has the type that all inputs declare if its values fit, and otherwise the type of its values", async () => {
  const kinds = new Map<string, Set<ColumnKind>>([
    ["n", new Set(["integer", "null"])],
    ["mixed", new Set(["integer", "string"])],
    ["torn", new Set(["integer"])],
    ["free", new Set(["boolean"])],
  ]);
  const columns = { n: "number", mixed: "integer", torn: "number" } as const;
  const types = await columnTypes(
    {
      ...{ run: "", spec: { read: { keep: ["n", "mixed", "torn"] } } },
      inputs: [{ columns }, { columns: { ...columns, torn: "integer" } }],
    } as unknown as RunFile,
    { columns: async () => kinds } as Partial<Compactions> as Compactions,
  );
  assert.deepEqual(Object.fromEntries(types), { n: "number", mixed: "json", torn: "integer", free: "boolean" });
});

test("labels are escaped as in Hive", () => {
  assert.equal(escapePartition("a/b=c%d é\n"), "a%2Fb%3Dc%25d é%0A");
  for (const empty of [null, ""]) assert.equal(labelFolder(empty), "label=__HIVE_DEFAULT_PARTITION__/");
});

test("ranges of slices are consecutive, each with enough bytes", async () => {
  const receipt = (bytes: number) => ({ rows: 1, errors: 0, bytes, sha256: "" });
  async function* slices() {
    for (const [slice, bytes] of [4, 7, 12, 3].entries()) yield { slice, receipt: receipt(bytes) };
  }
  assert.deepEqual(await Array.fromAsync(sliceRanges(slices(), 10)), [
    { range: 0, first: 0, last: 1 },
    { range: 1, first: 2, last: 2 },
    { range: 2, first: 3, last: 3 },
  ]);
});
