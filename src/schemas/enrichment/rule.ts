import { z } from "zod";
import { ResultTargetsSchema } from "./target.ts";

/** What is done with an object when it is created. The first rule that matches an object is its rule. */
export const RuleSchema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  match: z.strictObject({
    bucket: z.string().min(1).max(255),
    prefix: z.string().max(1024).default(""),
    suffix: z.union([z.string().max(64), z.array(z.string().max(64)).min(1).max(100)]).default(""),
  }),
  /** `image` and `text`: the object is one item. `table`: each row of the object is an item, and the object becomes a run. */
  kind: z.enum(["image", "text", "table"]),
  /** The name of a declared model. */
  model: z.string().min(1).max(256),
  /** The column with the texts or image references of a table. Default: found from the names of the columns. */
  column: z.string().min(1).optional(),
  /** Where the parts and runs go. Default: the output of the server. */
  output: z.string().min(1).max(4096).optional(),
  results: ResultTargetsSchema.default([]),
});
export type Rule = z.infer<typeof RuleSchema>;
