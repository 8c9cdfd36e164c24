import { type FileMetaData, parquetMetadata, parquetSchema, type SchemaElement, type SchemaTree } from "hyparquet";
import { LabelmillError, messageOf } from "../../errors.ts";
import type { ColumnType } from "../../schemas/input.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey } from "../bytes/cache-key.ts";
import type { Origin } from "../bytes/origin.ts";
import { readRange } from "../bytes/read-range.ts";
import { quoted } from "../source.ts";
import { COMPRESSORS } from "./codecs.ts";
import { type ExactReader, exactReaders, isDecimal, isLocal, isNumber } from "./exact-values.ts";

/** The largest footer that is read. It grows with columns times row groups. */
const MAX_FOOTER_BYTES = 64 << 20;
/** Bytes that are read from the end: most footers are shorter. */
const TAIL_BYTES = 64 * 1024;
/** The largest uncompressed column chunk: without a page index it is read as a whole. */
const MAX_CHUNK_BYTES = 2 ** 30;
/** The largest absolute scale of a decimal: all its digits are written out. */
const MAX_SCALE = 1000;
/** Memory that a footer takes, as a multiple of its bytes. */
const PARSED_FACTOR = 8;

/** Rows `first` to `first + rows` (exclusive). */
export type RowGroup = { first: number; rows: number };

export type Footer = {
  metadata: FileMetaData;
  columns: ReadonlyMap<string, SchemaTree>;
  /** The names of the columns, in order. They may have duplicates. */
  names: readonly string[];
  /** Readers of columns whose values the library would change. */
  exact: ReadonlyMap<string, ExactReader>;
  groups: readonly RowGroup[];
  /** Rows of all groups. */
  rows: number;
};

const footers = new ByteCache<Footer>(32 << 20, ({ metadata }) => (metadata.metadata_length + 1) * PARSED_FACTOR);

/**
 * The footer of a Parquet file. Footers are cached.
 * @throws LabelmillError INPUT_UNREADABLE if the file has another format, is cut off, encrypted or invalid
 */
export function footerOf(origin: Origin): Promise<Footer> {
  return footers.get(cacheKey(origin), () => readFooter(origin));
}

async function readFooter(origin: Origin): Promise<Footer> {
  const bytes = await footerBytes(origin);
  try {
    const stored = parquetMetadata(bytes, { geoparquet: false });
    const columns = new Map<string, SchemaTree>();
    const { children } = parquetSchema(stored);
    const names = children.map(({ element }) => element.name);
    for (const column of children) if (!columns.has(column.element.name)) columns.set(column.element.name, column);
    const { metadata, readers: exact } = exactReaders(stored, columns.values());
    const groups: RowGroup[] = [];
    let rows = 0;
    for (const group of metadata.row_groups) {
      const count = Number(group.num_rows);
      if (!(count >= 0) || !Number.isSafeInteger(rows + count))
        throw new Error(`invalid number of rows in a row group: ${count}`);
      if (count > 0) groups.push({ first: rows, rows: count });
      rows += count;
    }
    return { metadata, columns, names, exact, groups, rows };
  } catch (error) {
    throw unreadable(origin, `its footer is invalid: ${messageOf(error)}`, error);
  }
}

async function footerBytes(origin: Origin): Promise<ArrayBuffer> {
  const size = origin.input.size!;
  if (size < 12) throw unreadable(origin, `expected a Parquet file, got ${size} bytes`);
  const tail = await readRange(origin, Math.max(0, size - TAIL_BYTES), size);
  const end = Buffer.from(tail);
  const magic = end.toString("latin1", end.length - 4);
  if (magic === "PARE") throw unreadable(origin, "encrypted files are not supported: decrypt it first");
  if (magic !== "PAR1")
    throw unreadable(origin, "expected PAR1 at the end of a Parquet file: it has another format, or is cut off");
  const length = end.readUInt32LE(end.length - 8);
  if (length > size - 12)
    throw unreadable(origin, `its footer has a length of ${length} bytes, which does not fit into a file of ${size}`);
  if (length > MAX_FOOTER_BYTES)
    throw unreadable(origin, `expected a footer of at most ${MAX_FOOTER_BYTES} bytes, got ${length}`);
  return length + 8 <= tail.byteLength ? tail : await readRange(origin, size - length - 8, size);
}

/** @throws LabelmillError INPUT_CODEC or INPUT_UNREADABLE if one of the columns cannot be read */
export function checkColumns(origin: Origin, { metadata, columns }: Footer, names: readonly string[]): void {
  for (const name of names) {
    const kind = unreadableKind(columns.get(name)!);
    if (kind) throw unreadable(origin, `column ${quoted(name)} has the type ${kind}, which is not supported`);
  }
  const size = origin.input.size! - metadata.metadata_length - 8;
  for (const [number, { columns: chunks }] of metadata.row_groups.entries()) {
    for (const { meta_data: meta, file_path: elsewhere, crypto_metadata: crypto } of chunks) {
      if (meta === undefined || crypto !== undefined)
        throw unreadable(origin, "encrypted columns are not supported: decrypt the file first");
      const name = meta.path_in_schema[0]!;
      if (!names.includes(name)) continue;
      const where = `column ${quoted(name)} in row group ${number}`;
      if (elsewhere) throw unreadable(origin, `${where} is in another file, which is not supported`);
      if (meta.codec !== "UNCOMPRESSED" && COMPRESSORS[meta.codec] === undefined) {
        const expected = Object.keys(COMPRESSORS).join(", ");
        const message = `${where}: expected one of the codecs ${expected} or none, got ${meta.codec ?? "an unknown one"}`;
        throw new LabelmillError("INPUT_CODEC", `${origin.label}: ${message}: write the file with one of these`);
      }
      const begin = Number(meta.dictionary_page_offset || meta.data_page_offset);
      const compressed = Number(meta.total_compressed_size);
      if (!(begin >= 4 && compressed >= 0 && begin + compressed <= size))
        throw unreadable(origin, `${where} has ${compressed} bytes at byte ${begin}, which is not within the file`);
      const most = Math.max(compressed, Number(meta.total_uncompressed_size));
      if (most > MAX_CHUNK_BYTES)
        throw unreadable(
          origin,
          `${where}: expected at most ${MAX_CHUNK_BYTES} bytes, got ${most}: write the file with smaller row groups`,
        );
    }
  }
}

function unreadableKind({ element, children }: SchemaTree): string | undefined {
  const kind = element.converted_type ?? element.logical_type?.type;
  if (kind === "BSON" || kind === "INTERVAL") return kind;
  const { scale = 0 } = element;
  if (isDecimal(element) && Math.abs(scale) > MAX_SCALE) return `DECIMAL with a scale of ${scale}`;
  return children.map(unreadableKind).find((found) => found !== undefined);
}

/** Average uncompressed bytes of a row in the named columns, for each row group that has rows. */
export function bytesPerRow({ metadata }: Footer, names: readonly string[]): number[] {
  return metadata.row_groups.flatMap(({ columns, num_rows: rows }) => {
    if (rows === 0n) return [];
    const sizes = columns.map(({ meta_data: meta }) =>
      meta && names.includes(meta.path_in_schema[0]!) ? Number(meta.total_uncompressed_size) : 0,
    );
    return sizes.reduce((sum, size) => sum + size, 0) / Number(rows);
  });
}

export function columnType({ element, children }: SchemaTree): ColumnType {
  if (children.length > 0 || element.repetition_type === "REPEATED") return "json";
  if (isDecimal(element)) return isNumber(element) ? "number" : "string";
  if (isLocal(element)) return "datetime";
  const annotated = annotatedType(element);
  if (annotated) return annotated;
  if (element.type === "BOOLEAN") return "boolean";
  if (element.type === "INT32" || element.type === "INT64") return "integer";
  if (element.type === "FLOAT" || element.type === "DOUBLE") return "number";
  return element.type === "INT96" ? "timestamp" : "string";
}

function annotatedType({ converted_type: converted, logical_type: logical }: SchemaElement): ColumnType | undefined {
  const kind = converted ?? logical?.type ?? "";
  if (kind === "FLOAT16") return "number";
  if (kind.startsWith("TIMESTAMP")) return "timestamp";
  if (kind === "DATE") return "date";
  return kind === "JSON" ? "json" : undefined;
}

export function unreadable({ label }: Origin, why: string, cause?: unknown): LabelmillError {
  return new LabelmillError("INPUT_UNREADABLE", `${label}: ${why}`, cause === undefined ? {} : { cause });
}

/** Whether a column contains bytes that are not marked as texts. */
export function isBytes({ element, children }: SchemaTree): boolean {
  const { type, converted_type: converted, logical_type: logical, repetition_type: repetition } = element;
  if (children.length > 0 || repetition === "REPEATED" || converted !== undefined || logical !== undefined)
    return false;
  return type === "BYTE_ARRAY";
}

/** Whether a column is a struct of an image's `bytes` and `path`, as in data sets of the Hugging Face hub. */
export function isImageStruct({ element, children }: SchemaTree): boolean {
  if (element.repetition_type === "REPEATED" || element.converted_type !== undefined) return false;
  return children.some((child) => child.element.name === "bytes" && isBytes(child));
}
