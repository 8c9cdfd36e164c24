import assert from "node:assert/strict";
import { test } from "node:test";
import { retrySlices } from "../../../src/producers/planning/retry-slices.ts";
import { selectedIn } from "../../../src/schemas/manifest.ts";
import { cutSlices, type Slice } from "../../../src/sources/slices.ts";
import type { Source, Splitter } from "../../../src/sources/source.ts";

const URIS = ["a:", "b:"];

/** A source whose records have only a number. Its splits are addresses of rows in a Parquet file. */
function sourceOf(uri: string, count: number): Source {
  const input = { uri, size: null, modifiedAt: null, hash: null };
  const read = { format: "lines" as const, delimiter: null, column: null, idColumn: null, keep: [] };
  const splitter: Splitter = {
    async *cuts({ record }, room) {
      for (let first = record; first < count; ) {
        const split = {
          input,
          first,
          count: Math.min(room().items, count - first),
          at: { kind: "parquet" as const },
          read,
        };
        first += split.count;
        yield { split, bytes: 1, next: { record: first } };
      }
    },
  };
  return {
    input,
    read,
    splitter,
    async *records() {
      for (let record = 0; record < count; record++) yield { record, id: `${uri}#${record}`, text: String(record) };
    },
  };
}

async function retried(travels: "split" | "inline", errors: Record<string, number[]>): Promise<Slice[]> {
  const sources = [sourceOf("a:", 10), sourceOf("b:", 7)];
  const slices = cutSlices(sources, { size: { items: 4, bytes: 1000 }, travels: () => travels });
  const positions = new Map(Object.entries(errors).map(([uri, records]) => [uri, new Set(records)]));
  return Array.fromAsync(retrySlices(slices, URIS, async () => positions));
}

for (const travels of ["split", "inline"] as const) {
  test(`${travels}: only rows in error are items, and the ranges cover the inputs without gaps`, async () => {
    // A slice ends between 3 and 4.
    const slices = await retried(travels, { "a:": [9, 4, 1, 3], "b:": [0, 3] });
    const next = [0, 0];
    for (const { input, first, count } of slices.flatMap(({ ranges }) => ranges)) {
      assert.equal(first, next[input]);
      next[input]! += count;
    }
    assert.deepEqual(next, [10, 7]);
    const found = slices.flatMap(({ items, sources, splits }) =>
      splits
        ? splits.flatMap(({ input, only }) => only!.map((record) => `${input.uri}#${record}`))
        : items.map(({ source, record }) => `${sources[source]}#${record}`),
    );
    assert.deepEqual(found, ["a:#1", "a:#3", "a:#4", "a:#9", "b:#0", "b:#3"]);
    assert.deepEqual(
      slices.map(({ slice }) => slice),
      [...slices.keys()],
    );
    for (const { count, ranges, next, slice } of slices) {
      assert.equal(count, selectedIn(ranges));
      assert.equal(next.slice, slice + 1);
    }
    assert.equal(slices.at(-1)!.next.items, 6);
  });
}

test("ranges without rows in error at the end belong to the last slice; without any row in error there is no slice", async () => {
  const [only, ...more] = await retried("split", { "a:": [0] });
  assert.deepEqual(more, []);
  assert.equal(
    only!.ranges.reduce((sum, { count }) => sum + count, 0),
    17,
  );
  assert.deepEqual(await retried("inline", {}), []);
});
