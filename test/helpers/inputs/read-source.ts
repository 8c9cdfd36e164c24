import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { ReadOptions } from "../../../src/schemas/input.ts";
import { ItemSchema } from "../../../src/schemas/item.ts";
import { type Split, SplitSchema } from "../../../src/schemas/split.ts";
import type { Task } from "../../../src/schemas/task.ts";
import type { InputPlace } from "../../../src/sources/bytes/origin.ts";
import { namedFile } from "../../../src/sources/bytes/read-file.ts";
import { readSplit } from "../../../src/sources/read-split.ts";
import type { Cursor, CutSize, Source, SourceRecord } from "../../../src/sources/source.ts";

/** Read options that leave everything to detection. */
export const AUTO: ReadOptions = { format: "auto", delimiter: null, column: null, idColumn: null, keep: [] };

/** A signal that never aborts. */
export const NEVER = new AbortController().signal;

/** The largest slice. */
export const ALL: CutSize = { items: 20_000, bytes: 8_000_000 };

export function recordsOf(source: Source): Promise<SourceRecord[]> {
  return Array.fromAsync(source.records());
}

/** As recordsOf. Each record must be valid as an item of a job, and the numbers of the records must be consecutive. */
export async function validRecordsOf(source: Source): Promise<SourceRecord[]> {
  const records = await recordsOf(source);
  for (const [index, record] of records.entries()) {
    ItemSchema.parse({ ...record, source: 0 });
    assert.equal(record.record, index);
  }
  return records;
}

/** Records as `[line, text]`, or as `[line, code]` if they are errors. */
export function shortRecords(records: readonly SourceRecord[]): unknown[] {
  return records.map(({ line, text, error }) => [line, error === undefined ? text : error.code]);
}

/** The splits of a source. Each must be valid, and the next one must begin where it ends. */
export async function splitsOf(
  source: Source,
  size: Partial<CutSize> = {},
  sample?: number,
  from: Cursor = { record: 0 },
): Promise<Split[]> {
  const cuts = await Array.fromAsync(source.splitter!.cuts(from, () => ({ ...ALL, ...size }), sample));
  for (const { split, next } of cuts) {
    SplitSchema.parse(split);
    assert.equal(next.record, split.first + split.count);
  }
  return cuts.map(({ split }) => split);
}

/** The items of splits, as a worker reads them. `place`: default is the file of each split. `task`: default is texts. */
export async function readSplits(
  splits: readonly Split[],
  { place, task = "text-classification" }: { place?: InputPlace; task?: Task } = {},
): Promise<SourceRecord[]> {
  const items: SourceRecord[] = [];
  for (const split of splits) {
    const at = place ?? namedFile(fileURLToPath(split.input.uri));
    items.push(...(await Array.fromAsync(readSplit(split, task, at, NEVER))));
  }
  return items;
}

/** Checks that a promise rejects with an error of this code and message. */
export async function rejectsWith(work: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(work, (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
}
