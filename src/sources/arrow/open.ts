import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { Origin } from "../bytes/origin.ts";
import { type ColumnarFile, columnarSource, type WantedColumn } from "../columnar/open.ts";
import { groupFinder, type RowGroup } from "../columnar/splitter.ts";
import type { Source } from "../source.ts";
import { type BatchIndex, indexOf } from "./batches.ts";
import { type ArrowSchema, placesOf, schemaOf } from "./file.ts";
import { isBytes, TYPE, valueType } from "./layout.ts";
import { columnType } from "./scalars.ts";
import {
  type ArrowColumns,
  arrowWindows,
  type BatchPlace,
  columnsOf,
  neededDictionaries,
  openBatch,
} from "./windows.ts";

/** The most record batches of a split. */
const MAX_SPLIT_BATCHES = 1000;

/**
 * Opens an Arrow file or stream. The metadata of its messages is read, later only the needed columns.
 * @throws LabelmillError INPUT_UNREADABLE (another format, cut off, damaged, standard input), INPUT_CODEC, INPUT_EMPTY (no rows),
 * COLUMN_NOT_FOUND
 */
export async function openArrow(origin: Origin, read: ReadOptions, wanted: WantedColumn): Promise<Source> {
  if (origin.once)
    throw new LabelmillError(
      "INPUT_UNREADABLE",
      `${origin.label} cannot be read as Arrow, which needs random access; name a file`,
    );
  const schema = await schemaOf(origin);
  return columnarSource(arrowFile(origin, schema, await indexOf(origin)), read, wanted);
}

function arrowFile(origin: Origin, schema: ArrowSchema, index: BatchIndex): ColumnarFile {
  const typeOf = (name: string) => valueType(schema.columns.find((column) => column.name === name)!.type);
  const isImageStruct = (name: string) => {
    const { typeId, children } = typeOf(name);
    return typeId === TYPE.struct && children.some((child) => child.name === "bytes" && isBytes(valueType(child.type)));
  };
  return {
    ...{ origin, format: "arrow", rows: index.rows, columns: schema.columns.map(({ name }) => name) },
    columnType: (name) => columnType(typeOf(name)),
    mayHoldImages: (name) => isBytes(typeOf(name)) || isImageStruct(name),
    isImageStruct,
    check: (names) => void placesOf(origin, schema, names),
    windows(names, rows) {
      const columns = columnsOf(origin, schema, names);
      return arrowWindows(columns, batchesOf(columns, index), rows);
    },
    groups: (names) => batchGroups(columnsOf(origin, schema, names), index),
    place(names, first, count, images) {
      const columns = columnsOf(origin, schema, names);
      const begin = index.batchAt(first);
      const batches = index.batches.slice(begin, index.batchAt(first + count - 1) + 1);
      const skip = first - batches[0]!.first;
      return {
        ...{ kind: "arrow", batches: batches.map(({ at }) => at), dictionaries: dictionariesOf(columns, index, begin) },
        ...(skip > 0 ? { skip } : {}),
        ...(images ? { pictures: true } : {}),
      };
    },
  };
}

function dictionariesOf(columns: ArrowColumns, index: BatchIndex, batch: number): number[] {
  return neededDictionaries(columns, (id) => index.dictionary(id, batch));
}

function* batchesOf(columns: ArrowColumns, index: BatchIndex): Generator<BatchPlace> {
  for (const [number, batch] of index.batches.entries())
    yield { ...batch, dictionaries: dictionariesOf(columns, index, number) };
}

/** Groups that end where a split must end: its batches have the same dictionaries, and their number is limited. */
function batchGroups(columns: ArrowColumns, index: BatchIndex): (row: number) => Promise<RowGroup> {
  const find = groupFinder(index.batches);
  let last: { number: number; group: RowGroup } | undefined;
  return async (row) => {
    const number = find(row);
    if (last?.number === number) return last.group;
    const batch = index.batches[number]!;
    const dictionaries = dictionariesOf(columns, index, number);
    const { rowBytes } = await openBatch(columns, { ...batch, dictionaries });
    const next = dictionariesOf(columns, index, number + 1);
    const isLast = (number + 1) % MAX_SPLIT_BATCHES === 0 || next.join() !== dictionaries.join();
    last = { number, group: { ...batch, rowBytes: Math.max(1, rowBytes), isLast } };
    return last.group;
  };
}
