import type { OutputOptions } from "../schemas/output.ts";
import type { Row } from "../schemas/row.ts";
import { CODECS } from "./compression.ts";
import { type FileRow, fileRowOf } from "./file-row.ts";
import type { KeptColumn } from "./kept-columns.ts";
import { readParquetRows } from "./parquet-reader.ts";
import { ParquetFileWriter } from "./parquet-writer.ts";
import { readPart } from "./part.ts";

/** Bytes of JSON lines that are parsed at a time. */
const PIECE_BYTES = 4 << 20;
const NEWLINE = 0x0a;

/**
 * Encodes an output file. All of it is in memory twice: as JSON lines and as the result.
 * @param pieces rows as JSON lines, each piece in the format of a part
 */
export async function encodeDataFile(
  pieces: readonly Uint8Array[],
  { format, compression, partitionBy }: OutputOptions,
  kept: readonly KeptColumn[],
): Promise<Uint8Array> {
  if (format === "parquet") {
    const file = new ParquetFileWriter(kept, partitionBy !== null);
    for (const piece of pieces.flatMap((each) => [...piecesOf(each)])) file.add(readPart(piece).rows);
    return file.finish();
  }
  return CODECS[compression].compress(Buffer.concat(pieces));
}

/**
 * Reads the rows of a file that `encodeDataFile` made, one piece at a time.
 * @throws LabelmillError PART_MISMATCH, or any error of decompression or of the Parquet reader
 */
export async function* decodeDataFile(
  bytes: Uint8Array,
  { format, compression }: OutputOptions,
): AsyncGenerator<readonly FileRow[]> {
  if (format === "parquet") {
    yield* readParquetRows(bytes);
    return;
  }
  for await (const rows of decodeJsonRows(bytes, compression)) yield rows.map(fileRowOf);
}

/** Reads the whole rows of a file of JSON lines, as `decodeDataFile` does. A partitioned file has them whole too. */
export async function* decodeJsonRows(
  bytes: Uint8Array,
  compression: OutputOptions["compression"],
): AsyncGenerator<readonly Row[]> {
  for (const piece of piecesOf(await CODECS[compression].decompress(bytes))) yield readPart(piece).rows;
}

/** Cuts JSON lines into pieces at the ends of lines. */
function* piecesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(NEWLINE, Math.min(start + PIECE_BYTES, bytes.length) - 1);
    const end = newline === -1 ? bytes.length : newline + 1;
    yield bytes.subarray(start, end);
    start = end;
  }
}
