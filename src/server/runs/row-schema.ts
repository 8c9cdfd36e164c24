import { z } from "zod";
import { ItemErrorSchema } from "../../schemas/item.ts";
import { LabelScoreSchema, SourceSchema } from "../../schemas/row.ts";

/** A row, for the OpenAPI document and for answers in JSON. Rows were checked when they were read. */
export const RowViewSchema = z.looseObject({
  id: z.string(),
  label: z.string().optional().describe("The best label. Omitted in a row in error."),
  score: z.number().optional().describe("The score of the best label, from 0 to 1."),
  labels: z.array(LabelScoreSchema).optional().describe("The best `topK` labels, best first."),
  error: ItemErrorSchema.optional().describe("Why the item has no label."),
  input: z.record(z.string(), z.unknown()).optional().describe("The fields of the caller, unchanged."),
  source: SourceSchema,
});
