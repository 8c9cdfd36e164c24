import { z } from "zod";

/** The precisions in which a model's weights come: a file of their own each. */
export const DTYPES = ["fp32", "fp16", "q8"] as const;
export const DtypeSchema = z.enum(DTYPES);
export type Dtype = z.infer<typeof DtypeSchema>;
