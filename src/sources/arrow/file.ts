import type { DataType, Schema } from "apache-arrow";
import { LabelmillError } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey, ENTRY_BYTES } from "../bytes/cache-key.ts";
import { compressionOf } from "../bytes/compressions.ts";
import type { Origin } from "../bytes/origin.ts";
import { readRange } from "../bytes/read-range.ts";
import { quoted } from "../source.ts";
import { checkFooter, type FileBlocks } from "./check-metadata.ts";
import { invalidMetadata, type ReadBytes, readMessage, unreadable } from "./messages.ts";
import { unreadableKind } from "./scalars.ts";

const FILE_MAGIC = "ARROW1";
/** In a file, the magic is padded to eight bytes. A stream begins with its first message. */
const FILE_START = 8;
/** The footer of a file is followed by its length and the magic. */
const TAIL_BYTES = 4 + FILE_MAGIC.length;
/** The largest footer of a file. It grows with the number of batches. */
const MAX_FOOTER_BYTES = 64 << 20;
/** Memory that a schema takes, as a multiple of its bytes: each column becomes several objects. */
const PARSED_FACTOR = 20;
/** Bytes that are read at once: the metadata of most messages. */
const HEAD_BYTES = 16 << 10;

/** A column. A column without a name is called "". */
export type Column = { name: string; type: DataType };

/** The columns of a file or stream, and where its messages are: the blocks of a file, or the start of a stream. */
export type ArrowSchema = {
  columns: readonly Column[];
  /** The metadata version, from 0. */
  version: number;
  /** Bytes that were read for the schema. */
  bytes: number;
} & ({ blocks: FileBlocks; end: number } | { blocks?: undefined; start: number });

const schemas = new ByteCache<ArrowSchema>(32 << 20, ({ bytes }) => ENTRY_BYTES + bytes * PARSED_FACTOR);

/**
 * The schema of an Arrow file or stream. Schemas are cached.
 * @throws LabelmillError INPUT_UNREADABLE if the input is neither, is version 1 of Feather, is compressed, or has an unknown type
 */
export function schemaOf(origin: Origin): Promise<ArrowSchema> {
  return schemas.get(cacheKey(origin), () => readSchema(origin));
}

async function readSchema(origin: Origin): Promise<ArrowSchema> {
  const size = origin.input.size!;
  const read = readAhead(origin);
  const head = await read(0, Math.min(size, FILE_START));
  if (head.toString("latin1").startsWith(FILE_MAGIC)) return await readFooter(origin);
  checkStreamHead(origin, head);
  const message = await readMessage(origin, read, 0, size);
  if (message.kind !== "schema") throw unreadable(origin, "expected a schema as its first message");
  return { ...columnsOf(message.schema), bytes: message.end, start: message.end };
}

/** The schema and all offsets of a file are in its footer. Not all writers repeat the schema before the first batch. */
async function readFooter(origin: Origin): Promise<ArrowSchema> {
  const size = origin.input.size!;
  const tail = Buffer.from(await readRange(origin, Math.max(0, size - TAIL_BYTES), size));
  if (size < FILE_START + TAIL_BYTES || tail.toString("latin1", 4) !== FILE_MAGIC)
    throw unreadable(origin, `expected ${FILE_MAGIC} at the end of an Arrow file: it is cut off: write the file again`);
  const bytes = tail.readInt32LE(0);
  const end = size - TAIL_BYTES - bytes;
  if (!(bytes > 0 && bytes <= MAX_FOOTER_BYTES && end >= FILE_START))
    throw unreadable(origin, `its footer has a length of ${bytes} bytes, which does not fit into a file of ${size}`);
  const footer = Buffer.from(await readRange(origin, end, end + bytes));
  try {
    const blocks = checkFooter(footer);
    // The footer's decoder needs what the module of messages adds to schemas.
    await import("apache-arrow/ipc/metadata/message");
    const { Footer } = await import("apache-arrow/ipc/metadata/file");
    return { ...columnsOf(Footer.decode(footer).schema), bytes, blocks, end };
  } catch (error) {
    throw invalidMetadata(origin, "its footer", error);
  }
}

function columnsOf({ fields, metadataVersion: version }: Schema): Pick<ArrowSchema, "columns" | "version"> {
  return { columns: fields.map(({ name, type }) => ({ name: name ?? "", type })), version };
}

function checkStreamHead(origin: Origin, head: Buffer): void {
  if (head.length >= 4 && head.readInt32LE(0) === -1) return;
  if (head.toString("latin1", 0, 4) === "FEA1") {
    const fix = "write it again with pyarrow.feather.write_feather(…, version=2)";
    throw unreadable(origin, `version 1 of Feather is not supported: ${fix}`);
  }
  const compression = compressionOf(head);
  const found = compression ? `${compression.name} data: decompress it` : `bytes ${head.toString("hex") || "none"}`;
  throw unreadable(origin, `expected an Arrow file (ARROW1) or stream, got ${found}`);
}

/** Reads an input with read-ahead. @param ahead bytes that are read at once */
export function readAhead(origin: Origin, ahead = HEAD_BYTES): ReadBytes {
  let window: Buffer = Buffer.alloc(0);
  let windowAt = 0;
  return async (offset, length) => {
    const within = offset - windowAt;
    if (within >= 0 && within + length <= window.length) return window.subarray(within, within + length);
    const end = Math.max(offset + length, Math.min(offset + ahead, origin.input.size!));
    window = Buffer.from(await readRange(origin, offset, end));
    windowAt = offset;
    return window.subarray(0, length);
  };
}

/** The indices of the needed columns. @throws LabelmillError INPUT_UNREADABLE if the type of one is not supported, INPUT_CHANGED if one is missing */
export function placesOf(origin: Origin, { columns }: ArrowSchema, names: readonly string[]): number[] {
  return names.map((name) => {
    const place = columns.findIndex((column) => column.name === name);
    if (place < 0)
      throw new LabelmillError(
        "INPUT_CHANGED",
        `${origin.label}: expected a column ${quoted(name)} as planned, but it does not exist`,
      );
    const kind = unreadableKind(columns[place]!.type);
    if (kind) throw unreadable(origin, `column ${quoted(name)} has the type ${kind}, which is not supported`);
    return place;
  });
}
