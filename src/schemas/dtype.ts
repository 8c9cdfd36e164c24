import { z } from "zod";

/** Precisions of a model's weights. Each has its own file. */
export const DTYPES = ["fp32", "fp16", "q8"] as const;
export const DtypeSchema = z.enum(DTYPES);
export type Dtype = z.infer<typeof DtypeSchema>;
