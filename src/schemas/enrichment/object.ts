import { z } from "zod";

/** The version of an object in a bucket, as the event of its upload named it. */
export const ObjectVersionSchema = z.strictObject({
  versionId: z.string().min(1).max(1024).optional(),
  /** Without quotes. */
  etag: z.string().min(1).max(1024).optional(),
  /** Orders the events of one object: hexadecimal digits, padded with 0 at the right and compared as texts. */
  sequencer: z.string().min(1).max(128).optional(),
});
export type ObjectVersion = z.infer<typeof ObjectVersionSchema>;
