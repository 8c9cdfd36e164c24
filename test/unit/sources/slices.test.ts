import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { slicesOf } from "../../../src/producers/planning/run-slices.ts";
import { ItemSchema } from "../../../src/schemas/item.ts";
import { RangeSchema, selectedIn } from "../../../src/schemas/manifest.ts";
import type { RunFile } from "../../../src/schemas/run.ts";
import { isSampled } from "../../../src/sources/item/sample.ts";
import { cutSlices, type Slice } from "../../../src/sources/slices.ts";
import type { Cut, Source, SourceRecord } from "../../../src/sources/source.ts";

const READ = { format: "lines", delimiter: null, column: null, idColumn: null, keep: [] } satisfies Source["read"];

function sourceOf(uri: string, texts: readonly string[]): Source {
  return {
    input: { uri, size: null, modifiedAt: null, hash: null },
    read: READ,
    async *records(): AsyncGenerator<SourceRecord> {
      for (const [record, text] of texts.entries()) yield { record, line: record + 1, id: `${uri}#${record}`, text };
    },
  };
}

type Content = Pick<Slice, "slice" | "sources" | "items" | "ranges">;

/** The content of the slices. The counts and the numbers of the next slices are checked here. */
async function cut(sources: Source[], items: number, bytes: number): Promise<Content[]> {
  const slices = await Array.fromAsync(cutSlices(sources, { size: { items, bytes } }));
  return slices.map(({ count, next, ...content }) => {
    assert.equal(count, content.items!.length);
    assert.equal(next.slice, content.slice + 1);
    return content;
  });
}

test("slices of two items span three sources, one of them empty", async () => {
  const sources = [sourceOf("a:", ["1", "2", "3"]), sourceOf("b:", []), sourceOf("c:", ["4", "5"])];
  const item = (source: number, uri: string, record: number, text: string): unknown => ({
    id: `${uri}#${record}`,
    source,
    record,
    line: record + 1,
    text,
  });
  assert.deepEqual(await cut(sources, 2, 1e6), [
    {
      slice: 0,
      sources: ["a:"],
      items: [item(0, "a:", 0, "1"), item(0, "a:", 1, "2")],
      ranges: [{ input: 0, first: 0, count: 2 }],
    },
    {
      slice: 1,
      sources: ["a:", "c:"],
      items: [item(0, "a:", 2, "3"), item(1, "c:", 0, "4")],
      ranges: [
        { input: 0, first: 2, count: 1 },
        { input: 2, first: 0, count: 1 },
      ],
    },
    { slice: 2, sources: ["c:"], items: [item(0, "c:", 1, "5")], ranges: [{ input: 2, first: 1, count: 1 }] },
  ]);
});

test("an item over the limit of bytes is a separate slice", async () => {
  const slices = await cut([sourceOf("a:", ["1", "2", "x".repeat(5000), "3", "4"])], 100, 1000);
  assert.deepEqual(
    slices.map(({ items }) => items!.map(({ record }) => record)),
    [[0, 1], [2], [3, 4]],
  );
});

test("an input that is given twice is two inputs", async () => {
  const slices = await cut([sourceOf("a:", ["1"]), sourceOf("a:", ["1"])], 10, 1e6);
  assert.deepEqual(slices[0]!.sources, ["a:", "a:"]);
  assert.deepEqual(slices[0]!.ranges, [
    { input: 0, first: 0, count: 1 },
    { input: 1, first: 0, count: 1 },
  ]);
});

test("slices of any size contain all records in order, their ranges do not overlap, and both limits are respected", async () => {
  const texts = fc.array(fc.string({ unit: "grapheme", maxLength: 60 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(texts, { maxLength: 5 }),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 1500 }),
      async (inputs, items, bytes) => {
        const sources = inputs.map((input, index) => sourceOf(`s${index}:`, input));
        const slices = await cut(sources, items, bytes);
        assert.deepEqual(await cut(sources, items, bytes), slices);
        const expected = inputs.flatMap((input, index) => input.map((text, record) => [`s${index}:`, record, text]));
        assert.deepEqual(
          slices.flatMap((slice) => slice.items!.map((item) => [slice.sources![item.source], item.record, item.text])),
          expected,
        );
        const tiles = slices.flatMap(({ ranges }) =>
          ranges.flatMap(({ input, first, count }) =>
            Array.from({ length: count }, (_, at) => [`s${input}:`, first + at]),
          ),
        );
        assert.deepEqual(
          tiles,
          expected.map((entry) => entry.slice(0, 2)),
        );
        for (const [index, slice] of slices.entries()) {
          assert.equal(slice.slice, index);
          assert.ok(slice.items!.length <= items);
          assert.ok(slice.items!.length === 1 || Buffer.byteLength(JSON.stringify(slice.items!)) <= bytes + 1);
          assert.equal(
            slice.ranges.reduce((sum, { count }) => sum + count, 0),
            slice.items!.length,
          );
          for (const item of slice.items!) ItemSchema.parse(item);
          for (const range of slice.ranges) RangeSchema.parse(range);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("records are read only as slices are requested", async () => {
  let read = 0;
  const source: Source = {
    ...sourceOf("a:", []),
    async *records() {
      for (; ; read++) yield { record: read, id: String(read), text: "x" };
    },
  };
  for await (const { slice } of cutSlices([source], { size: { items: 10, bytes: 1e6 } })) if (slice === 2) break;
  assert.ok(read <= 31, `${read} records were read`);
});

/** A source whose splits are rows of a Parquet file. */
function splittable(uri: string, count: number): Source {
  const source = sourceOf(uri, new Array(count).fill("x"));
  const { input, read } = source;
  async function* cuts(
    from: { record: number },
    room: () => { items: number },
    sample: number | undefined,
  ): AsyncGenerator<Cut> {
    let [first, selected, most] = [from.record, 0, 0];
    for (let record = first; record < count; record++) {
      if (record === first) most = room().items;
      if (sample === undefined || isSampled(uri, record, sample)) selected++;
      if (selected < most && record < count - 1) continue;
      const split = { input, first, count: record + 1 - first, selected, at: { kind: "parquet" as const }, read };
      yield { split, bytes: split.count, next: { record: record + 1 } };
      [first, selected] = [record + 1, 0];
    }
  }
  return { ...source, splitter: { cuts } };
}

test("with a sample and a limit, inline or in splits: each item once, ranges without gap, and the same slices from any place", async () => {
  const inputs = fc.array(fc.record({ count: fc.nat(30), travels: fc.constantFrom("split", "inline") }), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(
      inputs as fc.Arbitrary<{ count: number; travels: "split" | "inline" }[]>,
      fc.integer({ min: 1, max: 12 }),
      fc.option(fc.constantFrom(0.1, 0.6), { nil: undefined }),
      fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
      async (of, most, sample, limit) => {
        const sources = of.map(({ count }, i) => splittable(`s${i}:`, count));
        const options = {
          size: { items: most, bytes: 1e6 },
          travels: (input: number) => of[input]!.travels,
          ...(sample === undefined ? {} : { sample }),
          ...(limit === undefined ? {} : { limit }),
        };
        const slices = await Array.fromAsync(cutSlices(sources, options));
        const itemsIn = (uri: string, first: number, count: number) =>
          Array.from({ length: count }, (_, at) => [uri, first + at] as const).filter(
            ([, record]) => sample === undefined || isSampled(uri, record, sample),
          );
        const all = of.flatMap(({ count }, i) => itemsIn(`s${i}:`, 0, count));
        const found = slices.flatMap(({ splits, items, sources: uris }) =>
          splits
            ? splits.flatMap(({ input, first, count }) => itemsIn(input.uri, first, count))
            : items.map(({ source, record }) => [uris[source]!, record] as const),
        );
        assert.deepEqual(found, all.slice(0, limit));

        const next = of.map(() => 0);
        for (const { input, first, count } of slices.flatMap(({ ranges }) => ranges)) {
          assert.equal(first, next[input], "without gap or overlap");
          next[input] = first + count;
        }
        if (found.length > 0 && (limit === undefined || all.length < limit))
          assert.deepEqual(
            next,
            of.map(({ count }) => count),
            "to the end of each input",
          );
        for (const [index, { count, ranges, next: place }] of slices.entries()) {
          assert.equal(count, selectedIn(ranges));
          assert.ok(count <= most);
          const rest = await Array.fromAsync(cutSlices(sources, { ...options, from: place }));
          assert.deepEqual(rest, slices.slice(index + 1));
        }
      },
    ),
    { numRuns: 200 },
  );
});

test("inline slices have at most a megabyte, even if slices of splits are larger", async () => {
  const source = sourceOf("a:", new Array(30).fill("x".repeat(100_000)));
  const spec = { sliceItems: 1000, sliceBytes: 8_000_000 };
  const runFile = { spec, inputs: [{ travels: "inline" }] } as unknown as RunFile;
  const slices = await Array.fromAsync(slicesOf(runFile, [source])());
  for (const { items } of slices) assert.ok(Buffer.byteLength(JSON.stringify(items)) <= 1_000_000);
  assert.equal(
    slices.reduce((sum, { count }) => sum + count, 0),
    30,
  );
});
