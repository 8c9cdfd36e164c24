import { quoted } from "../source.ts";
import { FlatTable } from "./flatbuffer.ts";

/** Kinds of messages, by the type of their header. */
export const SCHEMA = 1;
export const DICTIONARY_BATCH = 2;
export const RECORD_BATCH = 3;

/** The most columns, including nested ones. A batch may have four times as many buffers. */
const MAX_NODES = 100_000;
/** Names of types that the library does not know. */
const UNKNOWN_TYPES: Record<number, string> = { 22: "RunEndEncoded", 25: "ListView", 26: "LargeListView" };
const LAST_TYPE = 24;

/** A column has a type that the library does not know. */
export class UnknownType extends Error {}

/**
 * Checks a message's metadata before the library reads it: every offset that the library follows must be within the bytes.
 * @returns the kind of its header
 * @throws Error if an offset is out of the bytes or tables nest without end; UnknownType
 */
export function checkMessage(metadata: Buffer): number {
  const message = FlatTable.root(metadata);
  message.checkScalar(0, 2);
  message.checkScalar(3, 8);
  checkKeyValues(message, 4);
  const kind = message.uint8(1);
  const header = message.table(2);
  if (header === undefined) throw new Error("a message has no header");
  if (kind === SCHEMA) checkSchema(header);
  else if (kind === RECORD_BATCH) checkBatch(header);
  else if (kind === DICTIONARY_BATCH) checkDictionary(header);
  return kind;
}

/** The metadata version of a message, from 0 (V1). */
export function versionOf(metadata: Buffer): number {
  return FlatTable.root(metadata).int16(0);
}

function checkSchema(schema: FlatTable): void {
  if (schema.int16(0) !== 0) throw new UnknownType("its numbers are big-endian");
  for (const field of schema.tables(1)) checkField(field, field.string(0));
  checkKeyValues(schema, 2);
  schema.vector(3, 8);
}

function checkField(field: FlatTable, column: string): void {
  field.string(0);
  field.checkScalar(1, 1);
  const type = field.uint8(2);
  if (type > LAST_TYPE || Object.hasOwn(UNKNOWN_TYPES, type))
    throw new UnknownType(`column ${quoted(column)} is of the type ${UNKNOWN_TYPES[type] ?? `number ${type}`}`);
  // The table of any type contains at most numbers, the name of a time zone, or the type ids of a union.
  const about = field.table(3);
  if (about) for (const slot of [0, 1, 2]) checkTypeField(about, type, slot);
  const dictionary = field.table(4);
  dictionary?.checkScalar(0, 8);
  dictionary?.checkScalar(2, 1);
  const index = dictionary?.table(1);
  index?.checkScalar(0, 4);
  index?.checkScalar(1, 1);
  const children = field.tables(5);
  if (LISTS.includes(type) && children.length !== 1)
    throw new Error(`column ${quoted(column)} has lists without a type of their values`);
  for (const child of children) checkField(child, column);
  checkKeyValues(field, 6);
}

/** List, FixedSizeList, Map, LargeList. */
const LISTS: readonly number[] = [12, 16, 17, 21];
const TIMESTAMP = 10;
const UNION = 14;

function checkTypeField(about: FlatTable, type: number, slot: number): void {
  if (type === TIMESTAMP && slot === 1) about.string(slot);
  else if (type === UNION && slot === 1) about.vector(slot, 4);
  else about.checkScalar(slot, widthOf(type, slot));
}

/** The width in bytes of a number in a type's table, as the library reads it. */
function widthOf(type: number, slot: number): number {
  const isInt = type === 2 || type === 7 || type === 15 || type === 16;
  const isUnit = [3, 8, 9, 10, 11, 14, 18].includes(type) && slot === 0;
  if (isUnit) return 2;
  if (type === 2 && slot === 1) return 1;
  return isInt || (type === 9 && slot === 1) ? 4 : 1;
}

function checkBatch(batch: FlatTable): void {
  batch.checkScalar(0, 8);
  for (const slot of [1, 2]) {
    const { length } = batch.vector(slot, 16);
    if (length > 4 * MAX_NODES)
      throw new Error(`expected at most ${4 * MAX_NODES} columns and buffers in a batch, got ${length}`);
  }
  const compression = batch.table(3);
  compression?.checkScalar(0, 1);
  compression?.checkScalar(1, 1);
  batch.vector(4, 8);
}

function checkDictionary(dictionary: FlatTable): void {
  dictionary.checkScalar(0, 8);
  const batch = dictionary.table(1);
  if (batch === undefined) throw new Error("a dictionary has no values");
  checkBatch(batch);
  dictionary.checkScalar(2, 1);
}

function checkKeyValues(table: FlatTable, slot: number): void {
  for (const entry of table.tables(slot)) {
    entry.string(0);
    entry.string(1);
  }
}

/** Offsets of the messages of a file: of its dictionaries and of its record batches, in order. */
export type FileBlocks = { dictionaries: readonly number[]; batches: readonly number[] };

const BLOCK_BYTES = 24;

/** Checks a file's footer as `checkMessage` checks a message, and reads the offsets of its blocks. */
export function checkFooter(footer: Buffer): FileBlocks {
  const root = FlatTable.root(footer);
  root.checkScalar(0, 2);
  const schema = root.table(1);
  if (schema === undefined) throw new Error("it has no schema");
  checkSchema(schema);
  const blocks = (slot: number): number[] => {
    const { at, length } = root.vector(slot, BLOCK_BYTES);
    return Array.from({ length }, (_, index) => Number(footer.readBigInt64LE(at + BLOCK_BYTES * index)));
  };
  return { dictionaries: blocks(2), batches: blocks(3) };
}
