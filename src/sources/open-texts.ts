import type { Readable } from "node:stream";
import type { ReadOptions } from "../schemas/input.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { openOrigin } from "./bytes/open.ts";
import { withFormatHint } from "./discover/format-hint.ts";
import { inFolder } from "./item/image-reference.ts";
import { openTable } from "./open-table.ts";
import type { Source } from "./source.ts";
import { refuseTarOfTexts } from "./tar/archive-name.ts";

/**
 * Opens a file of texts, an S3 object (an `s3://` URI) or standard input: CSV, JSONL, a JSON array or plain lines, compressed or not,
 * Parquet or Arrow.
 * @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, COLUMN_NOT_FOUND, COLUMN_AMBIGUOUS, STORE_FAILED (S3) or USAGE,
 * before anything is queued
 */
export function openTextSource(from: string | { stdin: Readable }, read: ReadOptions, s3?: S3): Promise<Source> {
  return withFormatHint(read, async () => {
    if (typeof from === "string") refuseTarOfTexts(from);
    return await openTable(await openOrigin(from, s3), read, "text-classification", inFolder(process.cwd()));
  });
}
