import { basename, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { parseS3Uri } from "../../storage/s3/uri.ts";
import { isS3Uri } from "../bytes/s3-origin.ts";
import type { SourceRecord } from "../source.ts";
import { boundedId } from "./bounded-id.ts";
import type { Row } from "./row.ts";

/** Makes the fields of a record from a row that has a value. Undefined fields are left out. */
export type ToItem = (row: Row & { value: string }) => Partial<SourceRecord>;

/** The default prefix of an input's made ids: the name of the file itself, even if a link led to it. */
export function idNameOf(uri: string): string {
  if (uri.startsWith("file:")) return basename(fileURLToPath(uri));
  return isS3Uri(uri) ? posix.basename(parseS3Uri(uri).key) : "stdin";
}

/** The record of a row. @param line if the format has lines @param name the prefix of a made id: idNameOf the input, or the one of the run */
export function toRecord(
  row: Row,
  line: number | undefined,
  record: number,
  name: string,
  toItem: ToItem,
): SourceRecord {
  const id = row.id === undefined || row.id === "" ? `${name}#${record}` : row.id;
  const item: SourceRecord = { record, ...(line === undefined ? {} : { line }), id: boundedId(id) };
  if (row.skipped) item.skipped = true;
  if (row.error !== undefined) item.error = row.error;
  if (row.input !== undefined) item.input = row.input;
  if (row.repaired) item.repaired = true;
  if (row.value !== undefined && row.error === undefined) Object.assign(item, toItem(row as Row & { value: string }));
  return item;
}
