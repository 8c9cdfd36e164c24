import type { Readable } from "node:stream";
import type { ReadOptions } from "../schemas/input.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { openArrow } from "./arrow/open.ts";
import { openOrigin } from "./bytes/open.ts";
import { rowFormatOf } from "./columnar/formats.ts";
import { withFormatHint } from "./discover/format-hint.ts";
import { TEXT_COLUMNS, textItem } from "./item/text-item.ts";
import { openParquet } from "./parquet/open.ts";
import type { Source } from "./source.ts";
import { refuseTarOfTexts } from "./tar/archive-name.ts";
import { openTable } from "./text/open.ts";

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
