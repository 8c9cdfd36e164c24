import type { ReadOptions } from "../../schemas/input.ts";
import type { Origin } from "../bytes/origin.ts";
import { formatOfName } from "../text/detect-format.ts";

/** Formats of tables that are stored by columns. A table by format that lacks one of them is a compile error. */
const COLUMNAR_FORMATS = ["parquet", "arrow"] as const satisfies readonly ReadOptions["format"][];
export type ColumnarFormat = (typeof COLUMNAR_FORMATS)[number];

/** First bytes of an input that are needed to detect a columnar format. */
const MAGIC_BYTES = 8;

/**
 * First bytes, in hexadecimal digits: the letters, which a text may begin with too, and the bytes after them. In Parquet these are the first
 * field of a header, or the length of an encrypted one.
 */
export const PARQUET_BEGIN = /^50415231(?:15|.{4}0000)/;
export const ARROW_FILE_BEGIN = /^4152524f57310000/;
export const FEATHER_V1_BEGIN = /^4645413100000000/;

/** Whether the first bytes of an input, also given in hexadecimal digits, are those of a format. */
const DETECTORS: Record<ColumnarFormat, (hex: string, head: Buffer) => boolean> = {
  parquet: (hex) => PARQUET_BEGIN.test(hex),
  // openArrow refuses version 1 of Feather.
  arrow: (hex, head) => ARROW_FILE_BEGIN.test(hex) || FEATHER_V1_BEGIN.test(hex) || beginsArrowStream(head),
};

/** The marker of a stream's first message, and the length of its metadata: little-endian and less than 16 MiB. */
function beginsArrowStream(head: Buffer): boolean {
  return head.length >= MAGIC_BYTES && head.readInt32LE(0) === -1 && head[7] === 0;
}

/** The columnar format of an input: by the options, else by its name, else by its first bytes. Undefined for any other format. */
export async function columnarFormatOf(origin: Origin, { format }: ReadOptions): Promise<ColumnarFormat | undefined> {
  if (format !== "auto") return isColumnar(format) ? format : undefined;
  const named = formatOfName(origin.name);
  if (named !== "auto" || origin.once) return isColumnar(named) ? named : undefined;
  for await (const head of origin.bytes({ start: 0, end: MAGIC_BYTES })) {
    const hex = head.toString("hex", 0, MAGIC_BYTES);
    return COLUMNAR_FORMATS.find((each) => DETECTORS[each](hex, head));
  }
  return undefined;
}

export function isColumnar(format: ReadOptions["format"]): format is ColumnarFormat {
  return (COLUMNAR_FORMATS as readonly string[]).includes(format);
}
