import { z } from "zod";

/**
 * An object whose keys come from data: labels, columns. Any string may be one. `z.record` leaves out a key called `__proto__`, and with
 * it a label's count.
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

/** An object as JSON has it, with anything in it, as it stands. */
const fields = z.custom<Record<string, unknown>>(
  (value) => typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype,
  "expected an object",
);

/** The columns of a row that the caller asked to keep. */
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

/** The longest text that travels, in UTF-16 code units. No model of ours reads more than some thousands of tokens. */
export const MAX_TEXT_LENGTH = 1_000_000;

/**
 * One text or one image reference on its way to a worker, or the reason why its record has neither.
 * Exactly one of `text`, `image` and `error` is there.
 */
export const ItemSchema = z
  .strictObject({
    id: z.string().max(4096),
    /** Index into the job's `sources`. */
    source: z.int().nonnegative(),
    /** The record's number in its source, from 0; a header is not a record, a malformed line is one. */
    record: z.int().nonnegative(),
    /** The line on which the record begins, from 1. */
    line: z.int().positive().optional(),
    text: z.string().max(MAX_TEXT_LENGTH).optional(),
    /** `file:`, `http:`, `https:` or `s3:` URL. */
    image: z.string().max(8192).optional(),
    error: ItemErrorSchema.optional(),
    /** The columns that the caller asked to keep. */
    input: KeptColumnsSchema.optional(),
    /** Bytes that are not UTF-8 were replaced by U+FFFD. */
    repaired: z.literal(true).optional(),
  })
  .refine((item) => [item.text, item.image, item.error].filter((part) => part !== undefined).length === 1, {
    message: "exactly one of text, image and error",
  });
export type Item = z.infer<typeof ItemSchema>;
