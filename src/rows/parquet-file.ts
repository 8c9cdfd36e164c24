import type { SchemaElement } from "hyparquet";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import type { ColumnType } from "../schemas/input.ts";
import type { Row } from "../schemas/row.ts";

/** Rows of a row group: its encoding holds the thread, and its reader's memory. */
const GROUP_ROWS = 10_000;

/** A kept column of the input as a column of the file. */
export type KeptColumn = { column: string; name: string; type: ColumnType };

type Column = { name: string; schema: SchemaElement[]; of: (row: Row) => unknown };

const OWN = [
  ...["id", "label", "score", "labels", "truncated", "repaired", "error_code", "error_message"],
  ...["source_uri", "source_record", "source_line"],
];

/** Names for the kept columns: one that is taken gets `input_` before it, as often as needed. */
export function keptColumns(types: ReadonlyMap<string, ColumnType>): KeptColumn[] {
  const taken = new Set([...OWN, ...types.keys()]);
  return [...types].map(([column, type]) => {
    let name = column;
    if (OWN.includes(name)) {
      while (taken.has(name)) name = `input_${name}`;
      taken.add(name);
    }
    return { column, name, type };
  });
}

/** Makes a Parquet file (Snappy) in memory of rows that come in pieces, in their order. */
export class ParquetFile {
  readonly #bytes = new ByteWriter();
  readonly #columns: Column[];
  readonly #writer: ParquetWriter;
  #rows: Row[] = [];

  /** @param partitioned the folder says the label: readers add it as a column, and refuse two of them */
  constructor(kept: readonly KeptColumn[], partitioned: boolean) {
    this.#columns = [...ownColumns(partitioned), ...kept.map(keptColumn)];
    const root: SchemaElement = { name: "root", num_children: this.#columns.length };
    const schema = [root, ...this.#columns.flatMap((column) => column.schema)];
    this.#writer = new ParquetWriter({ writer: this.#bytes, schema, createdBy: "labelmill" });
  }

  add(rows: readonly Row[]): void {
    for (const row of rows) {
      this.#rows.push(row);
      if (this.#rows.length === GROUP_ROWS) this.#flush();
    }
  }

  finish(): Uint8Array {
    if (this.#rows.length > 0) this.#flush();
    this.#writer.finish();
    return this.#bytes.getBytes();
  }

  #flush(): void {
    const columnData = this.#columns.map(({ name, of }) => ({ name, data: this.#rows.map(of) }));
    this.#writer.write({ columnData, rowGroupSize: GROUP_ROWS });
    this.#rows = [];
  }
}

function ownColumns(partitioned: boolean): Column[] {
  const labeled = (row: Row) => ("error" in row ? undefined : row);
  const failed = (row: Row) => ("error" in row ? row.error : undefined);
  return [
    { name: "id", schema: [text("id", "REQUIRED")], of: (row) => row.id },
    ...(partitioned ? [] : [{ name: "label", schema: [text("label")], of: (row: Row) => labeled(row)?.label ?? null }]),
    { name: "score", schema: [plain("score", "DOUBLE")], of: (row) => labeled(row)?.score ?? null },
    { name: "labels", schema: LABELS, of: (row) => labeled(row)?.labels ?? null },
    { name: "truncated", schema: [plain("truncated", "BOOLEAN")], of: (row) => labeled(row)?.truncated ?? null },
    { name: "repaired", schema: [plain("repaired", "BOOLEAN")], of: (row) => labeled(row)?.repaired ?? null },
    { name: "error_code", schema: [text("error_code")], of: (row) => failed(row)?.code ?? null },
    { name: "error_message", schema: [text("error_message")], of: (row) => failed(row)?.message ?? null },
    { name: "source_uri", schema: [text("source_uri", "REQUIRED")], of: ({ source }) => source.uri },
    {
      name: "source_record",
      schema: [{ ...plain("source_record", "INT64"), repetition_type: "REQUIRED" }],
      of: ({ source }) => BigInt(source.record),
    },
    {
      name: "source_line",
      schema: [plain("source_line", "INT64")],
      of: ({ source }) => (source.line === undefined ? null : BigInt(source.line)),
    },
  ];
}

const LABELS: SchemaElement[] = [
  { name: "labels", repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
  { name: "list", repetition_type: "REPEATED", num_children: 1 },
  { name: "element", repetition_type: "REQUIRED", num_children: 2 },
  { name: "label", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
  { name: "score", type: "DOUBLE", repetition_type: "REQUIRED" },
];

function keptColumn({ column, name, type }: KeptColumn): Column {
  const convert = CONVERT[type];
  return {
    name,
    schema: [SCHEMA[type](name)],
    of: ({ input }) => {
      const value = input && Object.hasOwn(input, column) ? input[column] : undefined;
      return value === undefined || value === null ? null : convert(value);
    },
  };
}

const SCHEMA: Record<ColumnType, (name: string) => SchemaElement> = {
  boolean: (name) => plain(name, "BOOLEAN"),
  integer: (name) => plain(name, "INT64"),
  number: (name) => plain(name, "DOUBLE"),
  string: (name) => text(name),
  timestamp: (name) => ({ ...plain(name, "INT64"), converted_type: "TIMESTAMP_MICROS" }),
  datetime: (name) => ({
    ...plain(name, "INT64"),
    logical_type: { type: "TIMESTAMP", isAdjustedToUTC: false, unit: "MICROS" },
  }),
  date: (name) => ({ ...plain(name, "INT32"), converted_type: "DATE" }),
  json: (name) => text(name),
};

/** Of values that the column's type was found to hold. */
const CONVERT: Record<ColumnType, (value: unknown) => unknown> = {
  boolean: (value) => value,
  integer: (value) => BigInt(value as number | string),
  number: (value) => value,
  string: (value) => value,
  timestamp: (value) => micros(value as string),
  datetime: (value) => micros(`${value}Z`),
  date: (value) => {
    const ms = Date.parse(value as string);
    return Number.isNaN(ms) ? null : Math.floor(ms / 86_400_000);
  },
  json: (value) => JSON.stringify(value),
};

/** Microseconds since 1970 of an instant in ISO 8601, whose digits may be more than a Date holds. */
function micros(value: string): bigint | null {
  const ms = Date.parse(value);
  if (Number.isNaN(ms)) return null;
  const digits = /\.\d{3}(\d{1,3})/.exec(value)?.[1] ?? "0";
  return BigInt(ms) * 1000n + BigInt(digits.padEnd(3, "0"));
}

function text(name: string, repetition_type: "REQUIRED" | "OPTIONAL" = "OPTIONAL"): SchemaElement {
  return { name, type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type };
}

function plain(name: string, type: "BOOLEAN" | "INT32" | "INT64" | "DOUBLE"): SchemaElement {
  return { name, type, repetition_type: "OPTIONAL" };
}
