import { z } from "zod";
import { JobSchema, MAX_OUTPUT_LENGTH, RunIdSchema } from "../job.ts";
import { LANES } from "../names.ts";

/** What every record has. */
const COMMON = {
  /** The version of this schema. */
  v: z.literal(1),
  run: RunIdSchema,
  acceptedAt: z.iso.datetime(),
  /** The id of the API key that made the run, `rule:NAME` for a bucket rule, `-` on a server without keys. */
  owner: z.string().min(1).max(128),
  /** The ids of the webhook deliveries that are delivered or dead. */
  delivered: z.array(z.string().max(64)).max(100).optional(),
};

/**
 * A submission that the server accepted and that has not ended, or whose webhooks are not all delivered. With this
 * record the server queues it again after Redis lost it.
 */
export const AcceptedSchema = z.discriminatedUnion("kind", [
  z.strictObject({ ...COMMON, kind: z.literal("single"), lane: z.enum(LANES), job: JobSchema }),
  z.strictObject({
    ...COMMON,
    kind: z.literal("run"),
    /** The URI of the output of the run, whose `_run.json` is the rest of the record. */
    output: z.string().min(1).max(MAX_OUTPUT_LENGTH),
  }),
]);
export type Accepted = z.infer<typeof AcceptedSchema>;
