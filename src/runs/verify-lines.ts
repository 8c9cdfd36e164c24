import type { Hash } from "node:crypto";
import { type FileLine, FileLineSchema, type PartLine, PartLineSchema } from "../schemas/manifest.ts";
import { FILES_FILE, PARTS_FILE } from "../schemas/names.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { Check } from "./check.ts";

/** The lines of `_parts.jsonl`, each slice after the one before it; what is none is a problem. `hash` takes all bytes. */
export async function* partLines(store: ObjectStore, hash: Hash, check: Check): AsyncGenerator<PartLine> {
  let last = -1;
  for await (const { value, number } of jsonLines(store, PARTS_FILE, hash, check)) {
    const line = PartLineSchema.safeParse(value);
    if (!line.success) check.problem(`${PARTS_FILE} line ${number} is not a part line`);
    else if (line.data.slice <= last)
      check.problem(`${PARTS_FILE} line ${number}: slice ${line.data.slice} after slice ${last}`);
    else {
      last = line.data.slice;
      yield line.data;
    }
  }
}

/** The lines of `_files.jsonl`. */
export async function* fileLines(store: ObjectStore, hash: Hash, check: Check): AsyncGenerator<FileLine> {
  for await (const { value, number } of jsonLines(store, FILES_FILE, hash, check)) {
    const line = FileLineSchema.safeParse(value);
    if (line.success) yield line.data;
    else check.problem(`${FILES_FILE} line ${number} is not a line of a file`);
  }
}

async function* jsonLines(
  store: ObjectStore,
  key: string,
  hash: Hash,
  check: Check,
): AsyncGenerator<{ value: unknown; number: number }> {
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  for await (const chunk of store.stream(key)) {
    hash.update(chunk);
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    for (const text of lines) {
      number += 1;
      yield { value: parse(text), number };
    }
  }
  if (rest !== "") check.problem(`${key} ends within a line`);
}

/** What is no JSON is no line of any kind. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
