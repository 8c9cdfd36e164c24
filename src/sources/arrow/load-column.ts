import type { BinaryView, Dictionary, FixedSizeBinary, FixedSizeList } from "apache-arrow";
import { decodeText } from "../item/cell-values.ts";
import type { BatchBuffers } from "./buffers.ts";
import { type ColumnLayout, isBytes, isList, TYPE } from "./layout.ts";
import { UNKNOWN_NULLS } from "./messages.ts";
import { fixedReader } from "./scalars.ts";

/** Memory that one value may take, including nested values and repeated values of a dictionary: the largest image and some more. */
const MAX_VALUE_BYTES = 24_000_000;
/** Memory that a value within a list, map or struct takes in addition to its bytes. */
const INNER_BYTES = 16;
export const VIEW_BYTES = 16;
/** Values up to this length are stored in their view. */
export const INLINE_BYTES = 12;

/** Rows have more bytes than may be loaded at once. Fewer rows may fit. */
export class TooManyBytes extends Error {
  readonly bytes: number;
  constructor(bytes: number) {
    super(`${bytes} bytes`);
    this.bytes = bytes;
  }
}

/** Counts the memory that one value takes. */
export class Budget {
  spent = 0;
  /** Only `spent` is needed: texts are not decoded. */
  readonly onlyCounts: boolean;

  constructor({ onlyCounts = false } = {}) {
    this.onlyCounts = onlyCounts;
  }

  /** @throws TooManyBytes */
  spend(bytes: number): void {
    this.spent += bytes;
    if (this.spent > MAX_VALUE_BYTES) throw new TooManyBytes(this.spent);
  }
}

/** The value of a row, by its index among the loaded rows. @throws TooManyBytes, or Error if the file is corrupt */
export type ReadValue = (index: number, budget: Budget) => unknown;

/** What columns are loaded from, and how much was loaded. */
export type Load = {
  buffers: BatchBuffers;
  dictionary(type: Dictionary): Promise<{ length: number; read: ReadValue }>;
  /** Bytes that may be loaded, and that were loaded. */
  limit: number;
  loaded: number;
  /** Columns that were loaded, including nested ones. */
  columns: number;
};

/**
 * Loads rows `from` to `to` (exclusive) of a column.
 * @throws TooManyBytes if they have more bytes than `limit`; Error or LabelmillError if the file is corrupt
 */
export async function loadColumn(column: ColumnLayout, from: number, to: number, load: Load): Promise<ReadValue> {
  if (to > column.length) throw new Error(`expected ${to} values in a column, got ${column.length}`);
  load.columns++;
  const isValid = await loadValidity(column, from, to, load);
  const read = await loadValues(column, from, to, load, isValid);
  return isValid ? (index, budget) => (isValid(index) ? read(index, budget) : null) : read;
}

type Bits = (index: number) => boolean;

export async function loadValidity(
  column: ColumnLayout,
  from: number,
  to: number,
  load: Load,
): Promise<Bits | undefined> {
  if (column.nullCount === 0 || column.buffers.length === 0) return undefined;
  if (column.nullCount === UNKNOWN_NULLS && (await load.buffers.size(column.buffers[0]!)) === 0) return undefined;
  return await loadBits(column.buffers[0]!, from, to, load);
}

async function loadBits(buffer: number, from: number, to: number, load: Load): Promise<Bits> {
  const first = Math.floor(from / 8);
  const bytes = await bytesOf(load, buffer, first, Math.ceil(to / 8));
  return (index) => {
    const bit = from - 8 * first + index;
    return ((bytes[bit >> 3]! >> (bit & 7)) & 1) === 1;
  };
}

async function bytesOf(load: Load, buffer: number, start: number, end: number): Promise<Buffer> {
  if (load.loaded + end - start > load.limit) throw new TooManyBytes(end - start);
  load.loaded += end - start;
  return await load.buffers.bytes(buffer, start, end);
}

async function loadValues(
  column: ColumnLayout,
  from: number,
  to: number,
  load: Load,
  isValid: Bits | undefined,
): Promise<ReadValue> {
  const { type, buffers } = column;
  switch (type.typeId) {
    case TYPE.none:
    case TYPE.null:
      return () => null;
    case TYPE.bool:
      return await loadBits(buffers[1]!, from, to, load);
    case TYPE.dictionary:
      return await loadDictionary(column, from, to, load);
    case TYPE.struct:
      return await loadStruct(column, from, to, load);
    case TYPE.fixedList:
      return await loadFixedList(column, from, to, load);
    case TYPE.binaryView:
    case TYPE.utf8View:
      return textOr(column, await loadViews(column, from, to, load, isValid));
    case TYPE.fixedBinary: {
      const width = (type as FixedSizeBinary).byteWidth;
      if (!(width >= 0)) throw new Error(`expected a width of 0 or more bytes, got ${width}`);
      const bytes = await bytesOf(load, buffers[1]!, from * width, to * width);
      return (index, budget) => {
        budget.spend(width);
        return bytes.subarray(index * width, (index + 1) * width);
      };
    }
  }
  if (isList(type)) return await loadList(column, from, to, load);
  if (buffers.length === 3) return textOr(column, await loadVariable(column, from, to, load));
  const { width, read } = fixedReader(type);
  const bytes = await bytesOf(load, buffers[1]!, from * width, to * width);
  return (index) => read(bytes, index * width);
}

type ReadBytes = (index: number, budget: Budget) => Uint8Array;

function textOr({ type }: ColumnLayout, read: ReadBytes): ReadValue {
  if (isBytes(type)) return read;
  return (index, budget) => {
    const bytes = read(index, budget);
    return budget.onlyCounts ? "" : decodeText(bytes);
  };
}

async function loadVariable(column: ColumnLayout, from: number, to: number, load: Load): Promise<ReadBytes> {
  const offsets = await loadOffsets(column, from, to, load);
  const base = offsets[0]!;
  const total = offsets[to - from]! - base;
  // A single value that is too long is an error of its row only.
  if (load.loaded + total > load.limit && to - from === 1)
    return () => {
      throw new TooManyBytes(total);
    };
  const bytes = await bytesOf(load, column.buffers[2]!, base, base + total);
  return (index, budget) => {
    const [start, end] = [offsets[index]! - base, offsets[index + 1]! - base];
    budget.spend(end - start);
    return bytes.subarray(start, end);
  };
}

/** Where the values of the rows begin, and where the last one ends. */
async function loadOffsets(column: ColumnLayout, from: number, to: number, load: Load): Promise<Float64Array> {
  const offsets = new Float64Array(to - from + 1);
  if (to === from) return offsets;
  const { typeId } = column.type;
  const isLarge = typeId === TYPE.largeBinary || typeId === TYPE.largeUtf8 || typeId === TYPE.largeList;
  const width = isLarge ? 8 : 4;
  const bytes = await bytesOf(load, column.buffers[1]!, from * width, (to + 1) * width);
  for (let index = 0, last = 0; index < offsets.length; index++) {
    const offset = isLarge ? Number(bytes.readBigInt64LE(8 * index)) : bytes.readInt32LE(4 * index);
    if (!(offset >= last && Number.isSafeInteger(offset)))
      throw new Error(`expected an offset of at least ${last}, got ${offset}`);
    offsets[index] = offset;
    last = offset;
  }
  return offsets;
}

async function loadViews(
  { type, buffers }: ColumnLayout,
  from: number,
  to: number,
  load: Load,
  isValid: Bits | undefined,
): Promise<ReadBytes> {
  const views = await bytesOf(load, buffers[1]!, from * VIEW_BYTES, to * VIEW_BYTES);
  const data = buffers.slice(2);
  const spans = new Map<number, { start: number; end: number }>();
  let total = 0;
  for (let index = 0; index < to - from; index++) {
    const length = views.readInt32LE(index * VIEW_BYTES);
    // The view of a null is undefined.
    if (length <= INLINE_BYTES || isValid?.(index) === false) continue;
    const buffer = views.readInt32LE(index * VIEW_BYTES + 8);
    const start = views.readInt32LE(index * VIEW_BYTES + 12);
    if (data[buffer] === undefined || start < 0)
      throw new Error(`a ${(type as BinaryView).toString()} refers to byte ${start} of buffer ${buffer}`);
    total += length;
    const span = spans.get(buffer) ?? { start, end: start };
    spans.set(buffer, { start: Math.min(span.start, start), end: Math.max(span.end, start + length) });
  }
  // Views may share bytes, but the values made from them do not.
  if (load.loaded + total > load.limit) throw new TooManyBytes(total);
  const loaded = new Map<number, Buffer>();
  for (const [buffer, { start, end }] of spans) loaded.set(buffer, await bytesOf(load, data[buffer]!, start, end));
  return (index, budget) => {
    const at = index * VIEW_BYTES;
    const length = views.readInt32LE(at);
    if (length < 0) throw new Error(`expected a value of 0 or more bytes, got ${length}`);
    budget.spend(length);
    if (length <= INLINE_BYTES) return views.subarray(at + 4, at + 4 + length);
    const buffer = views.readInt32LE(at + 8);
    const start = views.readInt32LE(at + 12) - spans.get(buffer)!.start;
    return loaded.get(buffer)!.subarray(start, start + length);
  };
}

async function loadDictionary(column: ColumnLayout, from: number, to: number, load: Load): Promise<ReadValue> {
  const type = column.type as Dictionary;
  const { width, read } = fixedReader(type.indices);
  const indices = await bytesOf(load, column.buffers[1]!, from * width, to * width);
  const { length, read: value } = await load.dictionary(type);
  return (index, budget) => {
    const at = Number(read(indices, index * width));
    if (!(at >= 0 && at < length))
      throw new Error(`expected an index into a dictionary of ${length} values, got ${at}`);
    return value(at, budget);
  };
}

async function loadStruct(column: ColumnLayout, from: number, to: number, load: Load): Promise<ReadValue> {
  const children: [string, ReadValue][] = [];
  for (const [index, child] of column.children.entries())
    children.push([column.type.children[index]!.name ?? "", await loadColumn(child, from, to, load)]);
  return (index, budget) => {
    budget.spend(INNER_BYTES * children.length);
    return Object.fromEntries(children.map(([name, read]) => [name, read(index, budget)]));
  };
}

async function loadFixedList(column: ColumnLayout, from: number, to: number, load: Load): Promise<ReadValue> {
  const size = (column.type as FixedSizeList).listSize;
  if (!(size >= 0)) throw new Error(`expected lists of 0 or more values, got ${size}`);
  const read = await loadColumn(column.children[0]!, from * size, to * size, load);
  return (index, budget) => listOf(read, index * size, size, budget);
}

async function loadList(column: ColumnLayout, from: number, to: number, load: Load): Promise<ReadValue> {
  const offsets = await loadOffsets(column, from, to, load);
  const [base, end] = [offsets[0]!, offsets[to - from]!];
  const child = column.children[0]!;
  const length = (index: number) => offsets[index + 1]! - offsets[index]!;
  if (column.type.typeId !== TYPE.map) {
    const read = await loadColumn(child, base, end, load);
    return (index, budget) => listOf(read, offsets[index]! - base, length(index), budget);
  }
  if (child.children.length !== 2) throw new Error("expected a map of keys and values");
  const keys = await loadColumn(child.children[0]!, base, end, load);
  const values = await loadColumn(child.children[1]!, base, end, load);
  return (index, budget) => {
    const [start, count] = [offsets[index]! - base, length(index)];
    const names = listOf(keys, start, count, budget);
    const inner = listOf(values, start, count, budget);
    return Object.fromEntries(names.map((name, at) => [keyOf(name), inner[at]]));
  };
}

function listOf(read: ReadValue, start: number, count: number, budget: Budget): unknown[] {
  budget.spend(INNER_BYTES * count);
  return Array.from({ length: count }, (_, index) => read(start + index, budget));
}

function keyOf(key: unknown): string {
  if (typeof key === "string" || typeof key === "number" || typeof key === "bigint") return String(key);
  if (key instanceof Uint8Array) return Buffer.from(key).toString("base64");
  return JSON.stringify(key, (_name, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ?? "";
}
