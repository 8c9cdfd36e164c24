import type { Hash } from "node:crypto";
import { jsonLines } from "../../rows/json-lines.ts";
import { type FileLine, FileLineSchema, type PartLine, PartLineSchema } from "../../schemas/manifest.ts";
import { FILES_FILE, PARTS_FILE } from "../../schemas/names.ts";
import type { ReadableStore } from "../../storage/store.ts";
import type { Findings } from "./verification.ts";

/**
 * Reads the lines of `_parts.jsonl`, in the order of their slices. A line that is invalid or out of order is a problem.
 * @param hash is updated with all bytes
 */
export async function* partLines(store: ReadableStore, hash: Hash, findings: Findings): AsyncGenerator<PartLine> {
  let last = -1;
  for await (const { value, number } of jsonLines(hashed(store.stream(PARTS_FILE), hash))) {
    const line = PartLineSchema.safeParse(value);
    if (!line.success) findings.problem(`${PARTS_FILE} line ${number} is not a part line`);
    else if (line.data.slice <= last)
      findings.problem(`${PARTS_FILE} line ${number}: slice ${line.data.slice} after slice ${last}`);
    else {
      last = line.data.slice;
      yield line.data;
    }
  }
}

/** Reads the lines of `_files.jsonl`. An invalid line is a problem. @param hash is updated with all bytes */
export async function* fileLines(store: ReadableStore, hash: Hash, findings: Findings): AsyncGenerator<FileLine> {
  for await (const { value, number } of jsonLines(hashed(store.stream(FILES_FILE), hash))) {
    const line = FileLineSchema.safeParse(value);
    if (line.success) yield line.data;
    else findings.problem(`${FILES_FILE} line ${number} is not a file line`);
  }
}

async function* hashed(stream: AsyncIterable<Uint8Array>, hash: Hash): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream) {
    hash.update(chunk);
    yield chunk;
  }
}
