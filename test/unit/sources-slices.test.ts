import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ItemSchema } from "../../src/schemas/item.ts";
import { RangeSchema } from "../../src/schemas/manifest.ts";
import { cutSlices, type Slice } from "../../src/sources/slices.ts";
import type { Source, SourceRecord } from "../../src/sources/source.ts";

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

/** Without the count, which is that of the items, and the next place. */
async function cut(sources: Source[], items: number, bytes: number): Promise<Content[]> {
  const slices = await Array.fromAsync(cutSlices(sources, { size: { items, bytes } }));
  return slices.map(({ count, next, ...content }) => {
    assert.equal(count, content.items!.length);
    assert.equal(next.slice, content.slice + 1);
    return content;
  });
}

test("slices of two items over three sources, one of them empty", async () => {
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

test("an item over the limit of bytes is a slice alone", async () => {
  const slices = await cut([sourceOf("a:", ["1", "2", "x".repeat(5000), "3", "4"])], 100, 1000);
  assert.deepEqual(
    slices.map(({ items }) => items!.map(({ record }) => record)),
    [[0, 1], [2], [3, 4]],
  );
});

test("the same input given twice is two inputs", async () => {
  const slices = await cut([sourceOf("a:", ["1"]), sourceOf("a:", ["1"])], 10, 1e6);
  assert.deepEqual(slices[0]!.sources, ["a:", "a:"]);
  assert.deepEqual(slices[0]!.ranges, [
    { input: 0, first: 0, count: 1 },
    { input: 1, first: 0, count: 1 },
  ]);
});

test("however they are cut, slices hold all records in order, ranges tile them, and both limits hold", async () => {
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

test("records are taken as slices are: nothing is read ahead", async () => {
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
