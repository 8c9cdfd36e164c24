import type { DataType, Dictionary } from "apache-arrow";
import type { BatchHeader } from "./messages.ts";

/** Type ids of the format, as in the library. The id of dictionary columns is specific to the library. */
export const TYPE = {
  ...{ dictionary: -1, none: 0, null: 1, int: 2, float: 3, binary: 4, utf8: 5, bool: 6, decimal: 7, date: 8, time: 9 },
  ...{ timestamp: 10, interval: 11, list: 12, struct: 13, union: 14, fixedBinary: 15, fixedList: 16, map: 17 },
  ...{ duration: 18, largeBinary: 19, largeUtf8: 20, largeList: 21, binaryView: 23, utf8View: 24 },
} as const;

/** The layout of a column in a batch: its length and nulls, the numbers of its buffers, its children. */
export type ColumnLayout = {
  type: DataType;
  length: number;
  nullCount: number;
  /** In the order of the format: the validity bitmap first. */
  buffers: readonly number[];
  children: readonly ColumnLayout[];
};

type Typed = { type: DataType };

/** Number of buffers of a type without those of its children. Types that are not listed have two: validity and values. */
const BUFFERS: Record<number, number> = {
  ...{ [TYPE.none]: 0, [TYPE.null]: 0, [TYPE.struct]: 1, [TYPE.fixedList]: 1 },
  ...{ [TYPE.binary]: 3, [TYPE.utf8]: 3, [TYPE.largeBinary]: 3, [TYPE.largeUtf8]: 3 },
};
const SPARSE = 0;
const VERSION_5 = 4;

/**
 * The layout of each column of a batch.
 * @param version metadata version, from 0: it decides on the buffers of unions
 * @throws Error if the batch has fewer or more columns or buffers than the fields need
 */
export function layoutOf(fields: readonly Typed[], header: BatchHeader, version: number): ColumnLayout[] {
  let [node, buffer, variadic] = [0, 0, 0];
  const take = ({ type }: Typed, rows: number | undefined): ColumnLayout => {
    const found = header.nodes[node++];
    if (found === undefined) throw new Error(`expected more columns in its batch, got ${header.nodes.length}`);
    if (rows !== undefined && found.length < rows)
      throw new Error(`expected ${rows} values in a column, got ${found.length}`);
    const views = type.typeId === TYPE.binaryView || type.typeId === TYPE.utf8View;
    const count = ownBuffers(type, version) + (views ? (header.variadic[variadic++] ?? 0) : 0);
    if (buffer + count > header.buffers.length)
      throw new Error(`expected more buffers in its batch, got ${header.buffers.length}`);
    const buffers = Array.from({ length: count }, () => buffer++);
    const inner = type.typeId === TYPE.struct ? found.length : undefined;
    const children = childrenOf(type).map((child) => take(child, inner));
    return { type, length: found.length, nullCount: found.nullCount, buffers, children };
  };
  const layouts = fields.map((field) => take(field, header.rows));
  if (node !== header.nodes.length || buffer !== header.buffers.length)
    throw new Error("its batch has more columns or buffers than its schema");
  return layouts;
}

function ownBuffers(type: DataType, version: number): number {
  if (type.typeId !== TYPE.union) return BUFFERS[type.typeId] ?? 2;
  const { mode } = type as unknown as { mode: number };
  return (mode === SPARSE ? 1 : 2) + (version < VERSION_5 ? 1 : 0);
}

/** A dictionary column has only the node of its indices. Its values are in other messages. */
function childrenOf(type: DataType): readonly Typed[] {
  if (type.typeId === TYPE.dictionary) return [];
  return (type.children ?? []) as readonly Typed[];
}

export function isList({ typeId }: DataType): boolean {
  return typeId === TYPE.list || typeId === TYPE.largeList || typeId === TYPE.map;
}

/** The type of the values, in a dictionary or not. */
export function valueType(type: DataType): DataType {
  return type.typeId === TYPE.dictionary ? (type as Dictionary).dictionary : type;
}

/** The ids of the dictionaries of a column, including those within lists and structs. */
export function dictionaryIds(type: DataType): number[] {
  const own = type.typeId === TYPE.dictionary ? [(type as Dictionary).id] : [];
  const children = (valueType(type).children ?? []) as readonly Typed[];
  return [...own, ...children.flatMap((child) => dictionaryIds(child.type))];
}

const BYTES: readonly number[] = [TYPE.binary, TYPE.largeBinary, TYPE.binaryView];

export function isBytes({ typeId }: DataType): boolean {
  return BYTES.includes(typeId);
}
