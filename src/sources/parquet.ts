import { LabelmillError } from "../errors.ts";
import type { ReadOptions } from "../schemas/input.ts";
import { resolveColumns } from "./columns.ts";
import { formatOfName } from "./detect.ts";
import { EmptyInput } from "./empty-input.ts";
import type { Origin } from "./origin.ts";
import { checkColumns, columnType, type Footer, footerOf } from "./parquet-footer.ts";
import { neededColumns, rowReader } from "./parquet-reader.ts";
import { windowsOf } from "./parquet-rows.ts";
import { parquetSplitter } from "./parquet-splitter.ts";
import type { Source, SourceRecord } from "./source.ts";
import { idNameOf, type ToItem, toRecord } from "./table.ts";

const MAGIC = "PAR1";

/** Whether an input is Parquet: as told, else by its name, else by its first bytes. */
export async function isParquet(origin: Origin, { format }: ReadOptions): Promise<boolean> {
  if (format !== "auto") return format === "parquet";
  const named = formatOfName(origin.name);
  if (named !== "auto" || origin.once) return named === "parquet";
  for await (const head of origin.bytes({ start: 0, end: MAGIC.length })) return head.toString("latin1") === MAGIC;
  return false;
}

/**
 * Opens a Parquet file by its footer; afterwards only the columns that are needed are read. Fails with INPUT_UNREADABLE (none, cut off,
 * encrypted, standard input), INPUT_CODEC, INPUT_EMPTY (no rows) or COLUMN_NOT_FOUND.
 */
export async function openParquet(
  origin: Origin,
  told: ReadOptions,
  names: readonly string[],
  toItem: ToItem,
): Promise<Source> {
  const { input, label } = origin;
  if (origin.once)
    throw new LabelmillError(
      "INPUT_UNREADABLE",
      `${label} cannot be read as Parquet: its end comes first; name a file`,
    );
  const footer = await footerOf(origin);
  if (footer.rows === 0) throw new EmptyInput(`${label} has no rows`);
  const resolved = resolveColumns(footer.names, told, names, label);
  const read: ReadOptions = { ...resolved, format: "parquet", delimiter: null };
  checkColumns(origin, footer, neededColumns(read));
  return {
    input,
    read,
    columns: Object.fromEntries(read.keep.map((name) => [name, columnType(footer.columns.get(name)!)])),
    async *records(idName) {
      const rows = { first: 0, end: footer.rows };
      for await (const records of parquetRecords(origin, footer, read, toItem, rows, () => true, idName))
        yield* records;
      await origin.checkUnchanged();
    },
    splitter: parquetSplitter(origin, footer, read),
  };
}

/** The records of rows `first` to `end`, excluded, as they are decoded, together; those that are not wanted are left out. */
export async function* parquetRecords(
  origin: Origin,
  footer: Footer,
  read: ReadOptions,
  toItem: ToItem,
  rows: { first: number; end: number },
  isWanted: (record: number) => boolean,
  name = idNameOf(origin.input.uri),
): AsyncGenerator<Generator<SourceRecord>> {
  const rowOf = rowReader(read);
  for await (const { first, from, to, columns } of windowsOf(origin, footer, neededColumns(read), rows)) {
    yield (function* () {
      for (let record = from; record < to; record++)
        if (isWanted(record)) yield toRecord(rowOf(columns, record - first, record), undefined, record, name, toItem);
    })();
  }
}
