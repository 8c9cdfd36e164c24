import { z } from "zod";
import { ItemErrorSchema } from "../item.ts";
import { DigestSchema, RunIdSchema } from "../job.ts";
import { LabelScoreSchema } from "../row.ts";
import { ObjectVersionSchema } from "./object.ts";

/** The content of `KEY.labels.json`: the label of one object, or its error. */
export const SidecarSchema = z.strictObject({
  v: z.literal(1),
  /** The id of the item. */
  id: z.string(),
  /** The best label, its score, and the best labels. Omitted if the item is in error. */
  label: z.string().optional(),
  score: z.number().min(0).max(1).optional(),
  labels: z.array(LabelScoreSchema).min(1).optional(),
  /** The text was longer than the model reads. */
  truncated: z.literal(true).optional(),
  /** Bytes that are not UTF-8 were replaced. */
  repaired: z.literal(true).optional(),
  /** Why the item has no label. */
  error: ItemErrorSchema.optional(),
  model: z.strictObject({ id: z.string(), digest: DigestSchema }),
  /** The version that was labeled, as far as the submission named it. */
  object: ObjectVersionSchema,
  run: RunIdSchema,
  labeledAt: z.iso.datetime(),
});
export type Sidecar = z.infer<typeof SidecarSchema>;

/** The ending of the names of sidecars. Events of such objects label nothing. */
export const SIDECAR_ENDING = ".labels.json";

/** The name of the sidecar of an object. */
export function sidecarName(name: string): string {
  return name + SIDECAR_ENDING;
}
