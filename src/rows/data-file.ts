import { promisify } from "node:util";
import { gunzip, gzip, zstdCompress, zstdDecompress } from "node:zlib";
import type { OutputOptions } from "../schemas/output.ts";
import { type FileRow, fileRowOf } from "./file-row.ts";
import type { KeptColumn } from "./kept-columns.ts";
import { readParquetRows } from "./parquet-reader.ts";
import { ParquetFileWriter } from "./parquet-writer.ts";
import { readPart } from "./part.ts";

/** Bytes of JSON lines that are parsed at a time. */
const PIECE_BYTES = 4 << 20;
const NEWLINE = 0x0a;

/** The extension of files of this format, without the dot. */
export function endingOf({ format, compression }: OutputOptions): string {
  if (format === "parquet") return "parquet";
  return { none: "jsonl", gzip: "jsonl.gz", zstd: "jsonl.zst" }[compression];
}

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
  const bytes = Buffer.concat(pieces);
  if (compression === "gzip") return promisify(gzip)(bytes);
  return compression === "zstd" ? promisify(zstdCompress)(bytes) : bytes;
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
  const unpack = {
    none: async (packed: Uint8Array) => packed,
    gzip: promisify(gunzip),
    zstd: promisify(zstdDecompress),
  };
  for (const piece of piecesOf(await unpack[compression](bytes))) yield readPart(piece).rows.map(fileRowOf);
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
