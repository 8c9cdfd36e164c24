import { z } from "zod";
import { ItemErrorSchema, KeptColumnsSchema } from "./item.ts";

export const LabelScoreSchema = z.strictObject({
  /** A label of the model. */
  label: z.string(),
  /** From 0 to 1: softmax over all labels of the model. */
  score: z.number().min(0).max(1),
});
/**
 * A label and its score.
 *
 * @interface
 */
export type LabelScore = z.infer<typeof LabelScoreSchema>;

export const SourceSchema = z.strictObject({
  /** The URI of the input. `submitted:` for items of a {@link Submission}. */
  uri: z.string(),
  /** The number of the record in its input, from 0. */
  record: z.int().nonnegative(),
  /** The line on which the record begins, from 1. Omitted if the input has no lines. */
  line: z.int().positive().optional(),
});
/**
 * Where the item of a row came from: enough to find it again, and to prove that each item has one
 * row.
 *
 * @interface
 */
export type Source = z.infer<typeof SourceSchema>;

const FIRST = {
  /** The id of the item. */
  id: z.string(),
};

const LABELED = {
  /** The best label. */
  label: z.string(),
  /** The score of the best label, from 0 to 1. */
  score: z.number().min(0).max(1),
  /** The best `topK` labels with their scores, best first, at least one. */
  labels: z.array(LabelScoreSchema).min(1),
  /** The text was longer than the model reads: only its beginning was labeled. */
  truncated: z.literal(true).optional(),
  /** Bytes that are not UTF-8 were replaced by U+FFFD. */
  repaired: z.literal(true).optional(),
};

const FAILED = {
  /** Why the item has no label. */
  error: ItemErrorSchema,
};

const LAST = {
  /** The fields that the caller asked to keep, unchanged. Omitted if the item has no such fields. */
  input: KeptColumnsSchema.optional(),
  /** Where the item came from. */
  source: SourceSchema,
};

/**
 * The columns of rows, in the order in which they are written. To add a column, add it to one of the
 * groups above. Its check and its place in JSON follow from there, and the compiler asks for its
 * Parquet form in `rows/columns.ts`.
 */
export const ROW_COLUMNS = { ...FIRST, ...LABELED, ...FAILED, ...LAST };
export type RowColumn = keyof typeof ROW_COLUMNS;

export const LabeledRowSchema = z.strictObject({ ...FIRST, ...LABELED, ...LAST });
/**
 * The row of an item that has a label.
 *
 * @interface
 */
export type LabeledRow = z.infer<typeof LabeledRowSchema>;

export const ErrorRowSchema = z.strictObject({ ...FIRST, ...FAILED, ...LAST });
/**
 * The row of an item that has no label.
 *
 * @interface
 */
export type ErrorRow = z.infer<typeof ErrorRowSchema>;

export const RowSchema = z.union([LabeledRowSchema, ErrorRowSchema]);
/** The result of one item: one line of a part. `"error" in row` distinguishes the two kinds. */
export type Row = LabeledRow | ErrorRow;
