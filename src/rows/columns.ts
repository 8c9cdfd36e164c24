import { z } from "zod";
import { ErrorRowSchema, LabeledRowSchema, ROW_COLUMNS, type Row, type RowColumn, RowSchema } from "../schemas/row.ts";
import {
  BOOLEAN,
  columnOf,
  DOUBLE,
  INTEGER,
  listElements,
  type ParquetColumn,
  type ParquetType,
  type PlainType,
  TEXT,
} from "./parquet-types.ts";
import { compileCheck } from "./schema-check.ts";

/**
 * Whether a value is a row whose columns are in the order of `ROW_COLUMNS`. If false, it may still be a row:
 * `RowSchema` decides, and returns the columns in this order.
 */
export const isOrderedRow = compileCheck(RowSchema) as (value: unknown) => value is Row;

type Values = { [C in RowColumn]-?: NonNullable<z.infer<(typeof ROW_COLUMNS)[C]>> };
/** A column with fields. Each field is a Parquet column `COLUMN_FIELD`; with null, it is left out of Parquet. */
type Fields<T> = { fields: { [F in keyof T]-?: ParquetType<NonNullable<T[F]>> | null } };
/** A column with a list of objects. */
type List<T> = { list: { [F in keyof T]-?: PlainType<NonNullable<T[F]>> } };
type Form<T> = T extends (infer E)[] ? List<E> : T extends object ? Fields<T> : ParquetType<T>;

type Forms = { [C in Exclude<RowColumn, "input">]: Form<Values[C]> };

/** The Parquet form of each column. The fields of `input` are the kept columns: see `kept-columns.ts`. */
const FORMS: Forms = {
  id: TEXT,
  label: TEXT,
  score: DOUBLE,
  labels: { list: { label: TEXT, score: DOUBLE } },
  truncated: BOOLEAN,
  repaired: BOOLEAN,
  error: { fields: { code: TEXT, message: TEXT, retryable: null } },
  source: { fields: { uri: TEXT, record: INTEGER, line: INTEGER } },
};

/** The name of a column of rows in Parquet. */
export type ParquetName = {
  [C in keyof Forms]: Forms[C] extends Fields<infer T> ? `${C}_${keyof T & string}` : C;
}[keyof Forms];

/** The columns of rows in Parquet, in order, without the kept columns. */
export const PARQUET_COLUMNS: readonly ParquetColumn[] = Object.keys(ROW_COLUMNS)
  .filter((column) => column !== "input")
  .flatMap((column) => parquetColumnsOf(column as keyof Forms));

type AnyType = ParquetType<never>;
type AnyForm = AnyType | { fields: Record<string, AnyType | null> } | { list: Record<string, AnyType> };

function parquetColumnsOf(column: keyof Forms): ParquetColumn[] {
  const form: AnyForm = FORMS[column];
  const schema: z.ZodType = ROW_COLUMNS[column];
  const read = (row: Row) => (row as Partial<Record<RowColumn, unknown>>)[column];
  if ("list" in form)
    return [{ name: column, elements: listElements(column, form.list), read: (row) => read(row) ?? null }];
  const inAllRows = column in LabeledRowSchema.shape && column in ErrorRowSchema.shape;
  if ("element" in form) return [columnOf(column, form, inAllRows && !isOptional(schema), read)];
  const { shape } = schema as z.ZodObject;
  return Object.keys(shape).flatMap((field) => {
    const type = form.fields[field];
    if (!type) return [];
    const fieldOf = (row: Row) => (read(row) as Record<string, unknown> | undefined)?.[field];
    return columnOf(`${column}_${field}`, type, inAllRows && !isOptional(shape[field]!), fieldOf);
  });
}

function isOptional(schema: z.core.$ZodType): boolean {
  return schema instanceof z.ZodOptional;
}
