import { LabelmillError } from "../../../errors.ts";
import type { ReadOptions } from "../../../schemas/input.ts";
import { wantedOf } from "../../item/resolve-columns.ts";
import { quoted } from "../../source.ts";
import type { Head } from "../head.ts";
import { parseObject, passesFilter, scannerOfJson } from "../row-reader.ts";
import { recordsIn } from "../scanner.ts";

/** The records whose keys are an input's columns. */
const SEARCHED_RECORDS = 1000;
/** This many records are enough to select a column. */
const ENOUGH_RECORDS = 20;

/** The keys of the first records of JSONL or a JSON array. */
export type JsonColumns = {
  /** In the order in which they were found. */
  columns: string[];
  /** Those that one record has twice. JSON.parse would take the last value. */
  twice: ReadonlySet<string>;
  /** Records that were searched, and how many of them are objects. */
  records: number;
  objects: number;
  /** Objects that pass the filter, and how many of them have a column of each known name. Empty if the column is given. */
  passing: number;
  named: ReadonlyMap<string, number>;
  /** The head is the whole input. */
  isWhole: boolean;
  /** More records would not change the result. */
  isEnough: boolean;
};

/**
 * The columns of the first 1,000 records, or of those in the head. If the column is given, the search ends when all requested columns are found.
 * Otherwise all these records are counted.
 * @param begin where the first record begins
 */
export function jsonColumns(
  head: Head,
  read: ReadOptions,
  names: readonly string[],
  begin: { position: number; line: number },
): JsonColumns {
  const scanner = scannerOfJson(read, begin);
  const columns = new Set<string>();
  const twice = new Set<string>();
  const named = new Map<string, number>();
  const wanted = wantedOf(read);
  const isFound = (): boolean => wanted.every((name) => columns.has(name));
  let records = 0;
  let objects = 0;
  let passing = 0;
  scanner.append(head.bytes.subarray(begin.position));
  for (const raw of recordsIn(scanner, head.whole)) {
    records++;
    const object = "text" in raw ? parseObject(raw.text) : undefined;
    if ("text" in raw && object !== undefined) {
      objects++;
      const own = new Set<string>();
      for (const name of keysOf(raw.text)) {
        if (own.has(name)) twice.add(name);
        own.add(name);
        columns.add(name);
      }
      if (read.column !== null && isFound()) break;
      if (read.column === null && passesFilter(object, read)) {
        passing++;
        const lower = new Set([...own].map((name) => name.toLowerCase()));
        for (const name of names) if (lower.has(name)) named.set(name, (named.get(name) ?? 0) + 1);
      }
    }
    if (records === SEARCHED_RECORDS) break;
  }
  const isChosen = read.column !== null || (passing >= ENOUGH_RECORDS && coversMost(named, passing));
  const isEnough = records >= SEARCHED_RECORDS || (objects > 0 && isFound() && isChosen);
  return { columns: [...columns], twice, records, objects, passing, named, isWhole: head.whole, isEnough };
}

/**
 * The known names, sorted by the number of records that have them. Names with equal numbers keep their order.
 * @throws LabelmillError COLUMN_AMBIGUOUS if several occur, and none is in half of the records
 */
export function byRecords({ named, passing }: JsonColumns, names: readonly string[], label: string): readonly string[] {
  const count = (name: string): number => named.get(name) ?? 0;
  const ranked = names.toSorted((left, right) => count(right) - count(left));
  if (named.size < 2 || coversMost(named, passing)) return ranked;
  const found = ranked.slice(0, named.size).map((name) => `${quoted(name)} in ${count(name)}`);
  const message = `${label}: expected one text column in most records, got ${found.join(", ")} of the first ${passing} records; name one with --column`;
  throw new LabelmillError("COLUMN_AMBIGUOUS", message);
}

function coversMost(named: ReadonlyMap<string, number>, records: number): boolean {
  return Math.max(0, ...named.values()) * 2 >= records;
}

/** The keys of an object, with duplicates. The text must be a valid JSON object. */
function keysOf(text: string): string[] {
  const keys: string[] = [];
  let depth = 0;
  let isKey = false;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '"') {
      const from = at++;
      for (; text[at] !== '"'; at++) if (text[at] === "\\") at++;
      if (isKey) keys.push(JSON.parse(text.slice(from, at + 1)));
      isKey = false;
    } else if (character === "{" || character === "[") {
      depth++;
      isKey = depth === 1;
    } else if (character === "}" || character === "]") depth--;
    else if (character === ",") isKey = depth === 1;
  }
  return keys;
}
