import { z } from "zod";
import { type ObjectVersion, ObjectVersionSchema } from "./enrichment/object.ts";

/**
 * An object whose keys come from data, such as labels or columns, so that any string may be a key. `z.record` would
 * drop the key `__proto__`.
 */
export function dataRecord<V extends z.ZodType>(value: V) {
  return fields.transform((found, context) => {
    const entries = Object.entries(found).map(([key, each]): [string, z.output<V>] => {
      const parsed = value.safeParse(each);
      for (const { message, path } of parsed.error?.issues ?? [])
        context.addIssue({ code: "custom", message, path: [key, ...path] });
      return [key, parsed.data as z.output<V>];
    });
    return Object.fromEntries(entries) as Record<string, z.output<V>>;
  });
}

/** A plain JSON object, with any values, unchanged. */
const fields = z.custom<Record<string, unknown>>(
  (value) => typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype,
  "expected an object",
);

/** The kept columns of an item, by name. */
export const KeptColumnsSchema = fields;

export const ItemErrorSchema = z.strictObject({
  /** The error code. docs/errors.md lists the codes of items. */
  code: z.string().regex(/^[A-Z][A-Z_]*$/),
  /** What was expected, what was got and how to fix it. At most 4,096 UTF-16 code units. */
  message: z.string().max(4096),
  /**
   * A later try may succeed, for example after an unreachable host is back. Omitted if it cannot.
   */
  retryable: z.literal(true).optional(),
});
/**
 * Why an item has no label.
 *
 * @interface
 */
export type ItemError = z.infer<typeof ItemErrorSchema>;

/** Maximum length of a text in a job, in UTF-16 code units. Models read at most some thousands of tokens. */
export const MAX_TEXT_LENGTH = 1_000_000;

/**
 * One text, or a reference to an image or a text file, in a job, or the error of a record that has none of them. Has
 * exactly one of `text`, `image`, `textFile` and `error`.
 */
export const ItemSchema = z
  .strictObject({
    id: z.string().max(4096),
    /** Index into the job's `sources`. */
    source: z.int().nonnegative(),
    /** The number of the record in its source, from 0. A header is not a record, a malformed line is one. */
    record: z.int().nonnegative(),
    /** The line on which the record begins, from 1. */
    line: z.int().positive().optional(),
    text: z.string().max(MAX_TEXT_LENGTH).optional(),
    /** A URL with `file:`, `http:`, `https:` or `s3:`. */
    image: z.string().max(8192).optional(),
    /** The URL of a file that is one text, with the schemes of `image`. Not in a job of version 2. */
    textFile: z.string().max(8192).optional(),
    /** The version of the image or text file to label. Not in a job of version 2. */
    object: ObjectVersionSchema.optional(),
    error: ItemErrorSchema.optional(),
    /** The kept columns. */
    input: KeptColumnsSchema.optional(),
    /** Bytes that are not UTF-8 were replaced by U+FFFD. */
    repaired: z.literal(true).optional(),
  })
  .refine(
    ({ text, image, textFile, error }) =>
      [text, image, textFile, error].filter((one) => one !== undefined).length === 1,
    { message: "expected exactly one of text, image, textFile and error" },
  )
  .refine(({ object, image, textFile }) => !object || canHaveVersion(image ?? textFile ?? "", object), {
    path: ["object"],
    message: "expected the version of an s3: object, or the ETag of an http: or https: object",
  });
export type Item = z.infer<typeof ItemSchema>;

/** Whether a worker can read this version of a reference. On the web, only an ETag selects a version. */
function canHaveVersion(reference: string, { versionId, etag }: ObjectVersion): boolean {
  if (/^s3:/i.test(reference)) return true;
  return /^https?:/i.test(reference) && (versionId === undefined || etag !== undefined);
}
