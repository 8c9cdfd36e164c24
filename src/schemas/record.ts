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
