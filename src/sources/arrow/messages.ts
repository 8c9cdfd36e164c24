import type { Schema } from "apache-arrow";
import type { RecordBatch } from "apache-arrow/ipc/metadata/message";
import { LabelmillError, messageOf } from "../../errors.ts";
import type { Origin } from "../bytes/origin.ts";
import { checkMessage, DICTIONARY_BATCH, RECORD_BATCH, SCHEMA, UnknownType, versionOf } from "./check-metadata.ts";

/** The largest metadata of one message: it grows with the columns. */
const MAX_METADATA_BYTES = 16 << 20;
/** The most rows of one record batch. */
const MAX_BATCH_ROWS = 2 ** 31 - 1;
/** The first version of the format whose batches are laid out as today. */
const VERSION_4 = 3;

/** Not all writers count the nulls. */
export const UNKNOWN_NULLS = -1;

/** A record batch, or the values of a dictionary: what its buffers are, and where the first of them lies in the input. */
export type BatchHeader = {
  rows: number;
  nodes: readonly { length: number; nullCount: number }[];
  /** Relative to the body. */
  buffers: readonly { offset: number; length: number }[];
  codec: "none" | "lz4" | "zstd";
  variadic: readonly number[];
  bodyAt: number;
  bodyLength: number;
};

export type Message = { at: number; end: number } & (
  | { kind: "schema"; schema: Schema }
  | { kind: "batch"; batch: BatchHeader }
  | { kind: "dictionary"; batch: BatchHeader; id: number; isDelta: boolean }
  | { kind: "end" }
);

/** Reads bytes of an input that are there. */
export type ReadBytes = (offset: number, length: number) => Promise<Buffer>;

/**
 * The message at a byte of an Arrow stream or file. What it says is checked before it is believed: its body lies before `limit`, and its buffers
 * lie in the body.
 * @throws LabelmillError INPUT_UNREADABLE, INPUT_CODEC
 */
export async function readMessage(origin: Origin, read: ReadBytes, at: number, limit: number): Promise<Message> {
  const where = `the message at byte ${at}`;
  if (at + 8 > limit) throw cutOff(origin);
  const head = await read(at, 8);
  if (head.readInt32LE(0) !== -1) {
    const why = "expected the marker that begins a message; files of Arrow before 0.15 do not have it";
    throw unreadable(origin, `${where}: ${why}: write the file again`);
  }
  const length = head.readInt32LE(4);
  if (length === 0) return { kind: "end", at, end: at + 8 };
  if (length < 0 || length > MAX_METADATA_BYTES)
    throw unreadable(origin, `${where}: expected at most ${MAX_METADATA_BYTES} bytes of metadata, it has ${length}`);
  const bodyAt = at + 8 + length;
  if (bodyAt > limit) throw cutOff(origin);
  const metadata = await read(at + 8, length);
  const content = await decode(origin, metadata, bodyAt, where);
  if (content.end > limit) throw cutOff(origin);
  return { at, ...content };
}

type Content<M = Message> = M extends Message ? Omit<M, "at"> : never;

async function decode(origin: Origin, metadata: Buffer, bodyAt: number, where: string): Promise<Content> {
  try {
    const kind = checkMessage(metadata);
    if (versionOf(metadata) < VERSION_4) throw new Error("it is of a version before 4: write the file again");
    // Its modules take a tenth of a second to load, which only those who read Arrow are to wait for.
    const { Message: Metadata } = await import("apache-arrow/ipc/metadata/message");
    const message = Metadata.decode(metadata);
    const { bodyLength } = message;
    if (bodyLength < 0) throw new Error(`its body has ${bodyLength} bytes`);
    const end = bodyAt + bodyLength;
    if (kind === SCHEMA) return { kind: "schema", schema: message.header() as Schema, end };
    if (kind === RECORD_BATCH) {
      const batch = batchOf(message.header() as RecordBatch, bodyAt, bodyLength);
      return { kind: "batch", batch, end };
    }
    if (kind !== DICTIONARY_BATCH) throw new Error(`it is of the kind ${kind}, which holds no table`);
    const { id, isDelta, data } = message.header() as { id: number; isDelta: boolean; data: RecordBatch };
    return { kind: "dictionary", batch: batchOf(data, bodyAt, bodyLength), id, isDelta, end };
  } catch (error) {
    if (error instanceof UnknownCodec)
      throw new LabelmillError("INPUT_CODEC", `${origin.label}: ${where} ${error.message}`, { cause: error });
    throw senseless(origin, where, error);
  }
}

/** Why metadata cannot be read. */
export function senseless(origin: Origin, what: string, error: unknown): LabelmillError {
  if (error instanceof UnknownType)
    return unreadable(origin, `${error.message}, which is not read: write the file without it`, error);
  return unreadable(origin, `${what} makes no sense: ${messageOf(error).slice(0, 200)}`, error);
}

class UnknownCodec extends Error {}

function batchOf(header: RecordBatch, bodyAt: number, bodyLength: number): BatchHeader {
  const { length: rows, nodes, buffers, compression, variadicBufferCounts: variadic } = header;
  if (!(rows >= 0 && rows <= MAX_BATCH_ROWS)) throw new Error(`a batch of ${rows} rows`);
  for (const { length, nullCount } of nodes)
    if (!(length >= 0 && nullCount >= UNKNOWN_NULLS && nullCount <= length))
      throw new Error(`${nullCount} nulls of ${length} values`);
  for (const { offset, length } of buffers)
    if (!(offset >= 0 && length >= 0 && offset + length <= bodyLength))
      throw new Error(`a buffer of ${length} bytes at byte ${offset} of a body of ${bodyLength}`);
  for (const count of variadic) if (!(count >= 0)) throw new Error(`${count} buffers`);
  return { rows, nodes, buffers, codec: codecOf(compression), variadic, bodyAt, bodyLength };
}

function codecOf(compression: RecordBatch["compression"]): BatchHeader["codec"] {
  if (compression === null) return "none";
  const { type, method } = compression;
  if (method === 0 && type === 0) return "lz4";
  if (method === 0 && type === 1) return "zstd";
  throw new UnknownCodec(`is packed with an unknown codec (${type}): write the file with LZ4, ZSTD or none`);
}

function cutOff(origin: Origin): LabelmillError {
  return unreadable(origin, "its end is missing, it is cut off or its writer did not close it: write the file again");
}

export function unreadable({ label }: Origin, why: string, cause?: unknown): LabelmillError {
  return new LabelmillError("INPUT_UNREADABLE", `${label}: ${why}`, cause === undefined ? {} : { cause });
}
