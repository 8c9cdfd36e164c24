import type { Schema } from "apache-arrow";
import type { RecordBatch } from "apache-arrow/ipc/metadata/message";
import { LabelmillError, messageOf } from "../../errors.ts";
import type { Origin } from "../bytes/origin.ts";
import { checkMessage, DICTIONARY_BATCH, RECORD_BATCH, SCHEMA, UnknownType, versionOf } from "./check-metadata.ts";

/** The largest metadata of one message. It grows with the number of columns. */
const MAX_METADATA_BYTES = 16 << 20;
/** The most rows of one record batch. */
const MAX_BATCH_ROWS = 2 ** 31 - 1;
/** The first metadata version with the current layout of batches. */
const VERSION_4 = 3;

/** Some writers do not count the nulls. */
export const UNKNOWN_NULLS = -1;

/** A record batch, or the values of a dictionary. `bodyAt`: the offset of its buffers in the input. */
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

/** Reads bytes of an input. They must exist. */
export type ReadBytes = (offset: number, length: number) => Promise<Buffer>;

/**
 * The message at a byte of an Arrow stream or file. It is validated: its body ends before `limit`, and its buffers are within the body.
 * @throws LabelmillError INPUT_UNREADABLE, INPUT_CODEC
 */
export async function readMessage(origin: Origin, read: ReadBytes, at: number, limit: number): Promise<Message> {
  const where = `the message at byte ${at}`;
  if (at + 8 > limit) throw cutOff(origin);
  const head = await read(at, 8);
  if (head.readInt32LE(0) !== -1) {
    const why = "expected the marker of a message, which files of Arrow before 0.15 do not have";
    throw unreadable(origin, `${where}: ${why}: write the file again`);
  }
  const length = head.readInt32LE(4);
  if (length === 0) return { kind: "end", at, end: at + 8 };
  if (length < 0 || length > MAX_METADATA_BYTES)
    throw unreadable(origin, `${where}: expected at most ${MAX_METADATA_BYTES} bytes of metadata, got ${length}`);
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
    if (versionOf(metadata) < VERSION_4) throw new Error("expected metadata version 4 or later: write the file again");
    // Loading these modules takes 0.1 s, so they are loaded only when Arrow is read.
    const { Message: Metadata } = await import("apache-arrow/ipc/metadata/message");
    const message = Metadata.decode(metadata);
    const { bodyLength } = message;
    if (bodyLength < 0) throw new Error(`expected a body of 0 or more bytes, got ${bodyLength}`);
    const end = bodyAt + bodyLength;
    if (kind === SCHEMA) return { kind: "schema", schema: message.header() as Schema, end };
    if (kind === RECORD_BATCH) {
      const batch = batchOf(message.header() as RecordBatch, bodyAt, bodyLength);
      return { kind: "batch", batch, end };
    }
    if (kind !== DICTIONARY_BATCH)
      throw new Error(`expected a schema, record batch or dictionary, got the kind ${kind}`);
    const { id, isDelta, data } = message.header() as { id: number; isDelta: boolean; data: RecordBatch };
    return { kind: "dictionary", batch: batchOf(data, bodyAt, bodyLength), id, isDelta, end };
  } catch (error) {
    if (error instanceof UnknownCodec)
      throw new LabelmillError("INPUT_CODEC", `${origin.label}: ${where} ${error.message}`, { cause: error });
    throw invalidMetadata(origin, where, error);
  }
}

/** The error for metadata that cannot be read. */
export function invalidMetadata(origin: Origin, what: string, error: unknown): LabelmillError {
  if (error instanceof UnknownType)
    return unreadable(origin, `${error.message}, which is not supported: write the file without it`, error);
  return unreadable(origin, `${what} is invalid: ${messageOf(error).slice(0, 200)}`, error);
}

class UnknownCodec extends Error {}

function batchOf(header: RecordBatch, bodyAt: number, bodyLength: number): BatchHeader {
  const { length: rows, nodes, buffers, compression, variadicBufferCounts: variadic } = header;
  if (!(rows >= 0 && rows <= MAX_BATCH_ROWS))
    throw new Error(`expected a batch of at most ${MAX_BATCH_ROWS} rows, got ${rows}`);
  for (const { length, nullCount } of nodes)
    if (!(length >= 0 && nullCount >= UNKNOWN_NULLS && nullCount <= length))
      throw new Error(`expected at most ${length} nulls in a column, got ${nullCount}`);
  for (const { offset, length } of buffers)
    if (!(offset >= 0 && length >= 0 && offset + length <= bodyLength))
      throw new Error(`a buffer of ${length} bytes at byte ${offset} does not fit into a body of ${bodyLength}`);
  for (const count of variadic) if (!(count >= 0)) throw new Error(`expected 0 or more buffers of views, got ${count}`);
  return { rows, nodes, buffers, codec: codecOf(compression), variadic, bodyAt, bodyLength };
}

function codecOf(compression: RecordBatch["compression"]): BatchHeader["codec"] {
  if (compression === null) return "none";
  const { type, method } = compression;
  if (method === 0 && type === 0) return "lz4";
  if (method === 0 && type === 1) return "zstd";
  throw new UnknownCodec(
    `is compressed with an unknown codec (${type}): write the file with LZ4, ZSTD or no compression`,
  );
}

function cutOff(origin: Origin): LabelmillError {
  return unreadable(
    origin,
    "the end is missing: the file is cut off, or its writer did not close it: write the file again",
  );
}

export function unreadable({ label }: Origin, why: string, cause?: unknown): LabelmillError {
  return new LabelmillError("INPUT_UNREADABLE", `${label}: ${why}`, cause === undefined ? {} : { cause });
}
