import { z } from "zod";
import { ItemErrorSchema, KeptColumnsSchema } from "./item.ts";

export const LabelScoreSchema = z.strictObject({ label: z.string(), score: z.number().min(0).max(1) });
export type LabelScore = z.infer<typeof LabelScoreSchema>;

/** Where a row's item came from: enough to find it again and to prove that each is there once. */
export const SourceSchema = z.strictObject({
  uri: z.string(),
  record: z.int().nonnegative(),
  line: z.int().positive().optional(),
});
export type Source = z.infer<typeof SourceSchema>;

const common = { input: KeptColumnsSchema.optional(), source: SourceSchema };

/** `labels` holds the best `topK`, best first; `score` is softmax over all labels of the model. */
export const LabeledRowSchema = z.strictObject({
  id: z.string(),
  label: z.string(),
  score: z.number().min(0).max(1),
  labels: z.array(LabelScoreSchema).min(1),
  /** The text was longer than the model takes: its beginning was labeled. */
  truncated: z.literal(true).optional(),
  /** Bytes that are not UTF-8 were replaced by U+FFFD. */
  repaired: z.literal(true).optional(),
  ...common,
});
export type LabeledRow = z.infer<typeof LabeledRowSchema>;

export const ErrorRowSchema = z.strictObject({ id: z.string(), error: ItemErrorSchema, ...common });
export type ErrorRow = z.infer<typeof ErrorRowSchema>;

/** One line of a part: what became of one item. */
export const RowSchema = z.union([LabeledRowSchema, ErrorRowSchema]);
export type Row = z.infer<typeof RowSchema>;
