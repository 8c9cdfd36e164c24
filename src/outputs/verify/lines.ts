import type { Hash } from "node:crypto";
import { jsonLines } from "../../rows/json-lines.ts";
import { type FileLine, FileLineSchema, type PartLine, PartLineSchema } from "../../schemas/manifest.ts";
import { FILES_FILE, PARTS_FILE } from "../../schemas/names.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { Check } from "./check.ts";

/** The lines of `_parts.jsonl`, each slice after the one before it; what is none is a problem. `hash` takes all bytes. */
export async function* partLines(store: ReadableStore, hash: Hash, check: Check): AsyncGenerator<PartLine> {
  let last = -1;
  for await (const { value, number } of jsonLines(hashed(store.stream(PARTS_FILE), hash))) {
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
export async function* fileLines(store: ReadableStore, hash: Hash, check: Check): AsyncGenerator<FileLine> {
  for await (const { value, number } of jsonLines(hashed(store.stream(FILES_FILE), hash))) {
    const line = FileLineSchema.safeParse(value);
    if (line.success) yield line.data;
    else check.problem(`${FILES_FILE} line ${number} is not a line of a file`);
  }
}

async function* hashed(stream: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    hash.update(chunk);
    yield chunk;
  }
}
