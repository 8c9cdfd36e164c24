import { z } from "zod";
import { ResultTargetsSchema } from "../../schemas/enrichment/target.ts";
import { DEFAULT_TOP_K } from "../../schemas/job.ts";
import { LANES } from "../../schemas/names.ts";
import { Problem } from "../problems.ts";

/** The most items of a request. */
export const MAX_ITEMS = 500;
const MAX_REFERENCE = 8192;

/** What both kinds of requests have. */
const OPTIONS = {
  model: z
    .string()
    .min(1)
    .max(256)
    .optional()
    .describe("The name of a declared or served model. Default: the first declared model for the task."),
  topK: z
    .int()
    .min(1)
    .max(1000)
    .default(DEFAULT_TOP_K)
    .describe("Number of labels in a row, best first. A model with fewer labels gives all of them."),
  lane: z
    .enum(LANES)
    .default("interactive")
    .describe("`interactive` goes first, `bulk` keeps at least a fifth of the work."),
  results: ResultTargetsSchema.default([]).describe("Where results go, besides the answer."),
};

const ITEM = {
  id: z.string().max(4096).optional().describe("The id of the row. Default: `#0`, `#1`, … in the order of the items."),
  input: z.record(z.string(), z.unknown()).optional().describe("Any JSON object, copied into the row."),
};

const TextItemSchema = z.union([z.string(), z.strictObject({ ...ITEM, text: z.string() })]);

/** The body of `POST /v1/label/text`. */
export const TextBodySchema = z.strictObject({
  items: z.array(TextItemSchema).min(1).max(MAX_ITEMS).describe("The texts, or objects with a text."),
  ...OPTIONS,
});
export type TextBody = z.infer<typeof TextBodySchema>;

const reference = z
  .string()
  .min(1)
  .describe("An `s3:`, `https:` or `http:` URL, a `file:` URL if workers were granted it, or a `data:` URL in base64.");
const ImageItemSchema = z.union([
  reference,
  z.strictObject({ ...ITEM, image: reference }),
  z.strictObject({ ...ITEM, data: z.string().min(1).describe("The bytes of an image, in base64.") }),
]);

/** The body of `POST /v1/label/images` in JSON. */
export const ImagesBodySchema = z.strictObject({
  items: z.array(ImageItemSchema).min(1).max(MAX_ITEMS).describe("References of images, or objects with an image."),
  ...OPTIONS,
});
export type ImagesBody = z.infer<typeof ImagesBodySchema>;

/** The fields of an upload besides its files. Their values are texts. */
export const UploadFieldsSchema = z.strictObject({
  model: OPTIONS.model,
  topK: z.coerce.number().pipe(z.int().min(1).max(1000)).default(DEFAULT_TOP_K),
  lane: OPTIONS.lane,
  results: z
    .string()
    .transform((text, context) => {
      try {
        return JSON.parse(text) as unknown;
      } catch {
        context.addIssue({ code: "custom", message: "expected JSON" });
        return z.NEVER;
      }
    })
    .pipe(ResultTargetsSchema)
    .default([]),
});
export type LabelOptions = Pick<TextBody, "model" | "topK" | "lane" | "results">;

/** The body of an upload, for the OpenAPI document: a route reads it as a stream. */
export const UploadBodySchema = z
  .object({
    images: z.array(z.string().meta({ format: "binary" })).describe("One file for each image, 1 to 500."),
    model: z.string().optional(),
    topK: z.string().optional(),
    lane: z.string().optional(),
    results: z.string().optional().describe("Targets of results, as JSON."),
  })
  .nullish();

/** An image as its bytes, or as a reference. */
export type ImageContent = { bytes: Buffer } | { reference: string };

/**
 * The content of an item.
 * @param number of the item in its request, for messages
 * @throws Problem for a data URL that is not in base64, for invalid base64, and for a reference that is too long
 */
export function contentOf(item: ImagesBody["items"][number], number: number): ImageContent {
  const invalid = (expected: string) => new Problem(400, "REQUEST_INVALID", `items.${number}: expected ${expected}`);
  const fromBase64 = (text: string) => bytesOf(text) ?? fail(invalid("the bytes of an image in base64"));
  if (typeof item === "object" && "data" in item) return { bytes: fromBase64(item.data) };
  const image = typeof item === "string" ? item : item.image;
  if (!/^data:/i.test(image)) {
    if (image.length > MAX_REFERENCE) throw invalid(`a reference of at most ${MAX_REFERENCE} characters`);
    return { reference: image };
  }
  const comma = image.indexOf(",");
  if (comma === -1 || comma > 256 || !/;base64$/i.test(image.slice(0, comma)))
    throw invalid("a data: URL in base64, such as data:image/png;base64,…");
  return { bytes: fromBase64(image.slice(comma + 1)) };
}

/** Accepts the usual alphabet and that of URLs, with or without padding. Undefined if the text is not base64, or of no bytes. */
function bytesOf(text: string): Buffer | undefined {
  const clean = text.replaceAll(/[\r\n]/g, "");
  const isValid = /^[A-Za-z0-9+/_-]*={0,2}$/.test(clean) && clean.replace(/=+$/, "").length % 4 !== 1;
  const bytes = isValid ? Buffer.from(clean, "base64") : undefined;
  return bytes?.length === 0 ? undefined : bytes;
}

function fail(problem: Problem): never {
  throw problem;
}
