import type { Readable } from "node:stream";
import { MAX_TEXT_LENGTH } from "../schemas/item.ts";
import type { ReadOptions } from "../schemas/run.ts";
import { describeFile, describeUrl, unchanged } from "./identity.ts";
import type { Row } from "./rows.ts";
import type { Source, SourceRecord } from "./source.ts";
import { fileOrigin, openTable, stdinOrigin } from "./table.ts";

/** What a text column may be called where none is told, the best name first. */
const TEXT_COLUMNS = ["text", "review", "sentence", "content", "comment", "body", "message"];

/**
 * Opens a file of texts, or standard input: CSV, JSONL or plain lines, packed with gzip or not. Fails before anything is queued,
 * with INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, COLUMN_NOT_FOUND or USAGE.
 */
export async function openTextSource(from: string | { stdin: Readable }, read: ReadOptions): Promise<Source> {
  const origin = typeof from === "string" ? await fileOrigin(from) : stdinOrigin(from.stdin);
  const input = typeof from === "string" ? await describeFile(from) : describeUrl("stdin:");
  const table = await openTable(origin, read, { names: TEXT_COLUMNS, skipBlankLines: false }, textItem);
  if (typeof from !== "string") return { input, ...table };
  return { input, ...table, records: () => unchanged(table.records(), input, () => describeFile(from)) };
}

function textItem({ value }: Row & { value: string }): Partial<SourceRecord> {
  if (value.length > MAX_TEXT_LENGTH) {
    const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, came ${value.length}`;
    return { error: { code: "RECORD_TOO_LARGE", message } };
  }
  // Escapes in JSON can make halves of characters, which no UTF-8 can carry.
  return value.isWellFormed() ? { text: value } : { text: value.toWellFormed(), repaired: true };
}
