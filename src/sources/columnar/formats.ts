import type { ReadOptions } from "../../schemas/input.ts";
import type { Origin } from "../bytes/origin.ts";
import { formatOfName } from "../text/detect-format.ts";

export type RowFormat = "parquet" | "arrow";

/** Bytes of an input's beginning by which such a format is known. */
export const ROW_MAGIC_BYTES = 8;

/**
 * First bytes, in hexadecimal digits: the letters, which a text may begin with too, and what follows them. In Parquet that is the first field of
 * a header, or the length of an encrypted one.
 */
export const PARQUET_BEGIN = /^50415231(?:15|.{4}0000)/;
export const ARROW_FILE_BEGIN = /^4152524f57310000/;
export const FEATHER_V1_BEGIN = /^4645413100000000/;

/** The format of rows in columns that an input begins as; undefined for any other. */
export function beginsAsRows(head: Buffer): RowFormat | undefined {
  const hex = head.toString("hex", 0, ROW_MAGIC_BYTES);
  if (PARQUET_BEGIN.test(hex)) return "parquet";
  // Feather's first version is told apart where it is opened.
  if (ARROW_FILE_BEGIN.test(hex) || FEATHER_V1_BEGIN.test(hex)) return "arrow";
  // The marker of a stream's first message, and the length of its metadata: little-endian, and never so long.
  return head.length >= ROW_MAGIC_BYTES && head.readInt32LE(0) === -1 && head[7] === 0 ? "arrow" : undefined;
}

/** The format of an input of rows in columns: as told, else by its name, else by its first bytes; undefined for any other. */
export async function rowFormatOf(origin: Origin, { format }: ReadOptions): Promise<RowFormat | undefined> {
  if (format !== "auto") return isRowFormat(format) ? format : undefined;
  const named = formatOfName(origin.name);
  if (named !== "auto" || origin.once) return isRowFormat(named) ? named : undefined;
  for await (const head of origin.bytes({ start: 0, end: ROW_MAGIC_BYTES })) return beginsAsRows(head);
  return undefined;
}

export function isRowFormat(format: ReadOptions["format"]): format is RowFormat {
  return format === "parquet" || format === "arrow";
}
