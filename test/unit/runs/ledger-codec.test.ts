import assert from "node:assert/strict";
import { test } from "node:test";
import { newRunFile } from "../../../src/outputs/run-file.ts";
import { decodePlanned, encodePlanned, splitsOf } from "../../../src/runs/ledger/codec.ts";
import { type Split, SplitSchema } from "../../../src/schemas/split.ts";

const input = { uri: "file:///a.csv", size: 9, modifiedAt: null, hash: "h" };
const read = { format: "csv", delimiter: ",", column: "text", idColumn: "id", keep: ["k"] } as const;
const model = { id: "m", revision: "r", digest: "0".repeat(64), dtype: "fp32", task: "text-classification" } as const;
const runFile = newRunFile({
  spec: {
    model,
    read: { ...read, keep: [...read.keep], column: null, where: [{ column: "a", value: "b" }] },
    ...{ topK: 1, sliceItems: 10, sliceBytes: 10_000, events: "none", sample: 0.5 },
  },
  inputs: [{ input, read: { ...read, keep: [...read.keep] } }],
});

const places: Split["at"][] = [
  { kind: "text", offset: 0, bytes: 5, line: 1 },
  { kind: "text", offset: 12_345_678_901, bytes: 8_000_000, line: 7, width: 9, places: [0, 3], reach: 9_000_000 },
  { kind: "text", offset: 1, bytes: 5, line: 2, discarding: true },
  { kind: "parquet" },
  { kind: "tar", offset: 512, bytes: 1024 },
  {
    kind: "tar",
    offset: 512,
    bytes: 9000,
    images: [1024, 4096],
    byName: [
      [0, 2],
      [5, 1],
    ],
    replaced: [1536],
  },
  { kind: "tar", offset: 0, bytes: 9000, images: [0, 4096], replaced: [1536] },
];

test("a planned slice is decoded with its ranges and the splits that were queued", () => {
  const splits: Split[] = places.map((at, i) => ({
    ...{ input, first: i * 10, count: 10, at, sample: 0.5 },
    ...(i % 2 === 0 ? { selected: i + 1 } : {}),
    read: { ...read, keep: ["k"], where: [{ column: "a", value: "b" }] },
  }));
  for (const split of splits) SplitSchema.parse(split);
  const ranges = [
    ...splits.map(({ first, count, selected }) => ({ input: 0, first, count, ...(selected ? { selected } : {}) })),
    // A range without items is counted, but no worker reads it.
    { input: 0, first: places.length * 10, count: 4, selected: 0 },
  ];
  const entry = decodePlanned(encodePlanned({ ranges, splits }));
  assert.deepEqual(entry.planned, ranges);
  assert.deepEqual(splitsOf(entry, runFile), splits);
});

test("a slice whose items travel, or that selects single records, keeps only its ranges", () => {
  const ranges = [{ input: 0, first: 0, count: 3, selected: 2 }];
  assert.deepEqual(decodePlanned(encodePlanned({ ranges })), { planned: ranges });
  const only: Split = {
    input,
    first: 0,
    count: 3,
    selected: 2,
    only: [0, 2],
    at: places[0]!,
    read: { ...read, keep: [] },
  };
  const entry = decodePlanned(encodePlanned({ ranges, splits: [only] }));
  assert.equal(splitsOf(entry, runFile), undefined);
});

test("an entry of a large run takes less than 100 bytes", () => {
  const at: Split["at"] = {
    kind: "text",
    offset: 123_456_789_012,
    bytes: 8_000_000,
    line: 9_999_999,
    width: 12,
    places: [3, 0],
  };
  const split: Split = { input, first: 9_999_000, count: 500, at, read: { ...read, keep: [] } };
  const ranges = [{ input: 0, first: 9_999_000, count: 500 }];
  assert.ok(encodePlanned({ ranges, splits: [split] }).length < 100);
});
