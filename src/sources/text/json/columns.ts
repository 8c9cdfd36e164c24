import { LabelmillError } from "../../../errors.ts";
import type { ReadOptions } from "../../../schemas/input.ts";
import { wantedOf } from "../../item/resolve-columns.ts";
import { quoted } from "../../source.ts";
import type { Head } from "../head.ts";
import { parseObject, passesFilter, scannerOfJson } from "../row-reader.ts";
import { recordsIn } from "../scanner.ts";

/** The records whose keys are an input's columns. */
const SEARCHED_RECORDS = 1000;
/** So many records are enough to choose a column by. */
const ENOUGH_RECORDS = 20;

/** The keys of the first records of JSONL or a JSON array. */
export type JsonColumns = {
  /** In the order in which they were met. */
  columns: string[];
  /** Those of them that one record has twice: JSON.parse takes the last. */
  twice: ReadonlySet<string>;
  /** Records that were searched, and how many of them are objects. */
  records: number;
  objects: number;
  /** Objects that pass the filter, and how many of them have a column of each known name; empty where the column is told. */
  passing: number;
  named: ReadonlyMap<string, number>;
  /** The head is all of the input. */
  isWhole: boolean;
  /** More records would not change what is found. */
  isEnough: boolean;
};

/**
 * The columns that any of the first 1,000 records has, as far as the head goes. Where the column is told, the search ends with the record by which
 * all that is asked for is there; else it counts the records of the whole head.
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
 * The known names, the one that most of the records have first, in their own order where as many have them.
 * @throws LabelmillError COLUMN_AMBIGUOUS where there are several, and none is in half of the records
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

/** The keys of an object as they are written, in a text that is known to be one. */
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
