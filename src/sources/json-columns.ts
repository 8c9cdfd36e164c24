import type { ReadOptions } from "../schemas/input.ts";
import type { Head } from "./head.ts";
import { parseObject, scannerOfJson } from "./rows.ts";
import { recordsIn } from "./scanner.ts";

/** The records whose keys are an input's columns. */
const SEARCHED_RECORDS = 1000;

/** The keys of the first records of JSONL or a JSON array. */
export type JsonColumns = {
  /** In the order in which they were met. */
  columns: string[];
  /** Records that were searched, and how many of them are objects. */
  records: number;
  objects: number;
  /** The head is all of the input. */
  isWhole: boolean;
  /** More records would not change what is found. */
  isEnough: boolean;
};

/**
 * The columns that any of the first 1,000 records has, as far as the head goes. The search ends with the record by which all that is asked for
 * is there, and a text column if none is told.
 * @param begin where the first record is looked for
 */
export function jsonColumns(
  head: Head,
  read: ReadOptions,
  names: readonly string[],
  begin: { position: number; line: number },
): JsonColumns {
  const scanner = scannerOfJson(read, begin);
  const columns = new Set<string>();
  const wanted = [read.column, read.idColumn, ...read.keep, ...(read.where ?? []).map(({ column }) => column)];
  const isFound = (): boolean =>
    wanted.every((name) => name === null || columns.has(name)) && (read.column !== null || columns.has(names[0]!));
  let records = 0;
  let objects = 0;
  scanner.append(head.bytes.subarray(begin.position));
  for (const raw of recordsIn(scanner, head.whole)) {
    records++;
    const object = "text" in raw ? parseObject(raw.text) : undefined;
    if (object !== undefined) {
      objects++;
      for (const name of Object.keys(object)) columns.add(name);
      if (isFound()) break;
    }
    if (records === SEARCHED_RECORDS) break;
  }
  const isEnough = records >= SEARCHED_RECORDS || (objects > 0 && isFound());
  return { columns: [...columns], records, objects, isWhole: head.whole, isEnough };
}
