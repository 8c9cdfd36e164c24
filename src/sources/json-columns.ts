import type { ReadOptions } from "../schemas/input.ts";
import { wantedOf } from "./columns.ts";
import type { Head } from "./head.ts";
import { parseObject, scannerOfJson } from "./rows.ts";
import { recordsIn } from "./scanner.ts";

/** The records whose keys are an input's columns. */
const SEARCHED_RECORDS = 1000;

/** The keys of the first records of JSONL or a JSON array. */
export type JsonColumns = {
  /** In the order in which they were met. */
  columns: string[];
  /** Those of them that one record has twice: JSON.parse takes the last. */
  twice: ReadonlySet<string>;
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
  const twice = new Set<string>();
  const wanted = [...wantedOf(read), ...(read.column === null ? [names[0]!] : [])];
  const isFound = (): boolean => wanted.every((name) => columns.has(name));
  let records = 0;
  let objects = 0;
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
      if (isFound()) break;
    }
    if (records === SEARCHED_RECORDS) break;
  }
  const isEnough = records >= SEARCHED_RECORDS || (objects > 0 && isFound());
  return { columns: [...columns], twice, records, objects, isWhole: head.whole, isEnough };
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
