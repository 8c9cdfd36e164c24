import { z } from "zod";
import type { ObjectVersion } from "../../schemas/enrichment/object.ts";
import { type ResultTarget, ResultTargetsSchema } from "../../schemas/enrichment/target.ts";
import { MAX_OUTPUT_LENGTH, RunIdSchema } from "../../schemas/job.ts";
import {
  type ImageFields,
  type ItemFields,
  type SubmissionOptions,
  SubmissionSchema,
  type TextItem,
} from "./submission.ts";

const ServerSubmissionSchema = SubmissionSchema.extend({
  run: RunIdSchema.optional(),
  output: z
    .string()
    .max(MAX_OUTPUT_LENGTH)
    .regex(/^(s3|file):\/\//, "expected s3://BUCKET/PREFIX/ or file:///FOLDER/")
    .optional(),
  results: ResultTargetsSchema.optional(),
});

/** A submission of the server, with what the library does not offer. */
export type ServerSubmission = SubmissionOptions & {
  /** The id of the run. Default: a random one. */
  run?: string | undefined;
  /** The URI of the output. Default: that of the producer. */
  output?: string | undefined;
  /** Where results go, besides the part and the results queue. */
  results?: readonly ResultTarget[] | undefined;
} & ({ texts: readonly ServerTextItem[] } | { images: readonly ServerImageItem[] });

/** A text, or the file that is one. */
export type ServerTextItem = TextItem | TextFileFields;

/** A UTF-8 file that is one text. */
export interface TextFileFields extends ItemFields {
  /** An `s3:`, `http:`, `https:` or `file:` URL. The worker reads it. */
  textFile: string;
  /** The version to label. If omitted, the current one is labeled. */
  object?: ObjectVersion | undefined;
}

/** An image, with the version to label. */
export type ServerImageItem = string | (ImageFields & { object?: ObjectVersion | undefined });

/** The options of a submission with their defaults. @throws z.ZodError */
export function serverOptionsOf(submission: ServerSubmission): z.infer<typeof ServerSubmissionSchema> {
  const { texts: _texts, images: _images, ...options } = submission as Partial<Record<"texts" | "images", unknown>>;
  return ServerSubmissionSchema.parse(options);
}
