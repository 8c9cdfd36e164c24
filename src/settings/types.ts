/** The types of settings. Each accepts the text of a flag or an environment variable. */
import { z } from "zod";

/** A time in milliseconds, from 100 to 3,600,000. */
export const ms = z.coerce.number().int().min(100).max(3_600_000);
/** A whole number from 1. */
export const count = z.coerce.number().int().min(1);
const MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A time with a unit, converted to milliseconds. */
export const duration = z
  .string()
  .regex(/^\d{1,6}(ms|s|m|h|d)$/, "a time such as 90s, 30m, 24h or 7d")
  .transform((text) => Number.parseInt(text, 10) * MS[text.replace(/^\d+/, "") as keyof typeof MS]);
/** A boolean, also as text: `true`, `1`, `yes` or `on`, and their opposites. */
export const flag = z.union([z.boolean(), z.stringbool()]);
/** A URL of http or https without credentials. */
export const httpUrl = z
  .url({ protocol: /^https?$/, error: "an http:// or https:// URL" })
  .refine((url) => !/^https?:\/\/[^/?#]*@/i.test(url), "a URL without a user or a password");
/** An array of strings, also as one text with a separator. */
export const list = (separator: string) =>
  z.union([
    z.array(z.string()),
    z.string().transform((all) => all.split(separator).flatMap((each) => (each.trim() === "" ? [] : [each.trim()]))),
  ]);
