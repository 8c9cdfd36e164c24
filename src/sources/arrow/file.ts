import type { DataType, Schema } from "apache-arrow";
import { LabelmillError } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { ENTRY_BYTES, identityOf } from "../bytes/cache-key.ts";
import type { Origin } from "../bytes/origin.ts";
import { rangeOf } from "../bytes/read-range.ts";
import { quoted } from "../source.ts";
import { checkFooter, type FileBlocks } from "./check-metadata.ts";
import { type ReadBytes, readMessage, senseless, unreadable } from "./messages.ts";
import { unreadableKind } from "./scalars.ts";

const FILE_MAGIC = "ARROW1";
/** The magic is padded to eight bytes; a stream begins with its first message. */
const FILE_START = 8;
/** After a file's footer: its length, and the magic. */
const TAIL_BYTES = 4 + FILE_MAGIC.length;
/** The largest footer of a file: it grows with the batches. */
const MAX_FOOTER_BYTES = 64 << 20;
/** What a schema takes of memory, as a multiple of its bytes: each column is several objects. */
const PARSED_FACTOR = 20;
/** Read at once: the head of a message, as most are. */
const HEAD_BYTES = 16 << 10;

/** A column; one without a name is called "". */
export type Column = { name: string; type: DataType };

/** What a file or stream says of its columns, and where its messages are: those of a file, or from where on those of a stream. */
export type ArrowSchema = {
  columns: readonly Column[];
  /** Of the format, from 0. */
  version: number;
  /** Bytes that were read for it. */
  bytes: number;
} & ({ blocks: FileBlocks; end: number } | { blocks?: undefined; start: number });

const schemas = new ByteCache<ArrowSchema>(32 << 20, ({ bytes }) => ENTRY_BYTES + bytes * PARSED_FACTOR);

/**
 * The schema of an Arrow file or stream, which is kept. Fails with INPUT_UNREADABLE where it is neither, is Feather's first version, packed, or has a
 * type that cannot be named.
 */
export function schemaOf(origin: Origin): Promise<ArrowSchema> {
  return schemas.get(identityOf(origin), () => readSchema(origin));
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

/** Of a file all stands in its footer; not all writers repeat the schema before the first batch. */
async function readFooter(origin: Origin): Promise<ArrowSchema> {
  const size = origin.input.size!;
  const tail = Buffer.from(await rangeOf(origin, Math.max(0, size - TAIL_BYTES), size));
  if (size < FILE_START + TAIL_BYTES || tail.toString("latin1", 4) !== FILE_MAGIC)
    throw unreadable(origin, `expected ${FILE_MAGIC} at the end of an Arrow file: it is cut off: write the file again`);
  const bytes = tail.readInt32LE(0);
  const end = size - TAIL_BYTES - bytes;
  if (!(bytes > 0 && bytes <= MAX_FOOTER_BYTES && end >= FILE_START))
    throw unreadable(origin, `its footer would have ${bytes} bytes, and all of it has ${size}`);
  const footer = Buffer.from(await rangeOf(origin, end, end + bytes));
  try {
    const blocks = checkFooter(footer);
    // Footers are read by means of what the messages' module adds to schemas.
    await import("apache-arrow/ipc/metadata/message");
    const { Footer } = await import("apache-arrow/ipc/metadata/file");
    return { ...columnsOf(Footer.decode(footer).schema), bytes, blocks, end };
  } catch (error) {
    throw senseless(origin, "its footer", error);
  }
}

function columnsOf({ fields, metadataVersion: version }: Schema): Pick<ArrowSchema, "columns" | "version"> {
  return { columns: fields.map(({ name, type }) => ({ name: name ?? "", type })), version };
}

function checkStreamHead(origin: Origin, head: Buffer): void {
  if (head.length >= 4 && head.readInt32LE(0) === -1) return;
  if (head.toString("latin1", 0, 4) === "FEA1") {
    const fix = "write it again with pyarrow.feather.write_feather(…, version=2)";
    throw unreadable(origin, `it is of version 1 of Feather, which is not read: ${fix}`);
  }
  const packed = /^(1f8b|28b52ffd)/.test(head.toString("hex"));
  const why = packed ? "it is packed as a whole: unpack it" : `it begins with ${head.toString("hex") || "nothing"}`;
  throw unreadable(origin, `expected an Arrow file (ARROW1) or stream; ${why}`);
}

/** Reads an input's bytes forward and keeps what it read with them. @param ahead bytes that are read at once */
export function readAhead(origin: Origin, ahead = HEAD_BYTES): ReadBytes {
  let window: Buffer = Buffer.alloc(0);
  let windowAt = 0;
  return async (offset, length) => {
    const within = offset - windowAt;
    if (within >= 0 && within + length <= window.length) return window.subarray(within, within + length);
    const end = Math.max(offset + length, Math.min(offset + ahead, origin.input.size!));
    window = Buffer.from(await rangeOf(origin, offset, end));
    windowAt = offset;
    return window.subarray(0, length);
  };
}

/** The places of the needed columns among the fields. Fails with INPUT_UNREADABLE where one is of a type that is not read. */
export function placesOf(origin: Origin, { columns }: ArrowSchema, names: readonly string[]): number[] {
  return names.map((name) => {
    const place = columns.findIndex((column) => column.name === name);
    if (place < 0)
      throw new LabelmillError("INPUT_CHANGED", `${origin.label} has no column ${quoted(name)}, as it was planned`);
    const kind = unreadableKind(columns[place]!.type);
    if (kind) throw unreadable(origin, `column ${quoted(name)} is of the type ${kind}, which is not read`);
    return place;
  });
}
