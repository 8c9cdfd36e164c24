import type { Readable } from "node:stream";
import type { ReadOptions } from "../schemas/input.ts";
import { MAX_TEXT_LENGTH } from "../schemas/item.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { openArrow } from "./arrow/open.ts";
import { openOrigin } from "./bytes/origin.ts";
import { rowFormatOf } from "./columnar/format.ts";
import { withFormatHint } from "./discover/format-hint.ts";
import { openInputs } from "./discover/inputs.ts";
import { openParquet } from "./parquet/open.ts";
import type { Source, SourceRecord } from "./source.ts";
import { refuseTarOfTexts } from "./tar/name.ts";
import { openTable } from "./text/open.ts";
import type { Row } from "./text/row-reader.ts";

/** What a text column may be called where none is told, the best name first. */
const TEXT_COLUMNS = ["text", "review", "sentence", "content", "comment", "body", "message"];

/**
 * Opens a file of texts, an object of S3 (an `s3://` URI), or standard input: CSV, JSONL, a JSON array or plain lines, packed with gzip or zstd or not.
 * Fails before anything is queued, with INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, COLUMN_NOT_FOUND, COLUMN_AMBIGUOUS, STORE_FAILED (S3)
 * or USAGE.
 */
export function openTextSource(from: string | { stdin: Readable }, read: ReadOptions, s3?: S3): Promise<Source> {
  return withFormatHint(read, () => openTexts(from, read, s3));
}

async function openTexts(from: string | { stdin: Readable }, read: ReadOptions, s3?: S3): Promise<Source> {
  if (typeof from === "string") refuseTarOfTexts(from);
  const origin = await openOrigin(from, s3);
  const format = await rowFormatOf(origin, read);
  const wanted = { names: TEXT_COLUMNS, toItem: textItem };
  if (format !== undefined) return await (format === "arrow" ? openArrow : openParquet)(origin, read, wanted);
  return await openTable(origin, read, { names: TEXT_COLUMNS, skipBlankLines: false }, textItem);
}

/** Opens all inputs (`-` is standard input), several at a time, in their order. Fails as the first of them that cannot be opened. */
export function openTextSources(
  inputs: readonly string[],
  read: ReadOptions,
  stdin: Readable,
  s3?: S3,
): Promise<Source[]> {
  return openInputs(inputs, (input) => openTextSource(input === "-" ? { stdin } : input, read, s3));
}

/** What a row of a table of texts becomes. */
export function textItem({ value }: Row & { value: string }): Partial<SourceRecord> {
  if (value.length > MAX_TEXT_LENGTH) {
    const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, came ${value.length}`;
    return { error: { code: "RECORD_TOO_LARGE", message } };
  }
  // Escapes in JSON can make halves of characters, which no UTF-8 can carry.
  return value.isWellFormed() ? { text: value } : { text: value.toWellFormed(), repaired: true };
}
