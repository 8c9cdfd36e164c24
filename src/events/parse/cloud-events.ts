import { z } from "zod";
import { parseAzureBlob } from "./azure-blob.ts";
import { parseGoogleObject } from "./google-object.ts";
import { ignore, invalid, oneEvent, type Parsed } from "./object-event.ts";
import { fieldOf, parseS3Record, parseS3Records } from "./s3-records.ts";

/** A CloudEvent of version 1.0 in its JSON form. */
const CloudEventSchema = z.looseObject({
  specversion: z.string().regex(/^1\.0(\.\d+)?$/, "1.0"),
  type: z.string().min(1).max(300),
  source: z.string().min(1).max(4096),
  id: z.string().min(1).max(4096),
  time: z.string().max(100).nullish(),
  data: z.unknown(),
  data_base64: z.string().optional(),
});
export type CloudEvent = z.infer<typeof CloudEventSchema>;

const S3_PREFIX = "com.amazonaws.s3.";

/** @throws LabelmillError EVENT_INVALID */
export function parseCloudEvent(body: unknown): Parsed {
  const parsed = CloudEventSchema.safeParse(body);
  if (!parsed.success) throw invalid(`expected a CloudEvent of version 1.0: ${fieldOf(parsed.error)}`);
  const event = { ...parsed.data, data: dataOf(parsed.data) };
  if (event.type.startsWith(S3_PREFIX)) return parseS3(event);
  if (event.type.startsWith("google.cloud.storage.object.v1.")) return oneEvent(parseGoogleObject(event));
  if (event.type.startsWith("Microsoft.Storage.")) return parseAzureBlob(event);
  return ignore("a CloudEvent of an unknown type");
}

/** The event of a request in binary mode: its attributes are headers, its data is the body. */
export function fromBinaryMode(headers: Headers, data: unknown): Record<string, unknown> {
  const attributes = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith("ce-") && typeof value === "string" ? [[name.slice("ce-".length), decodeHeader(value)]] : [],
  );
  return { ...Object.fromEntries(attributes), data };
}

/** The headers of a request, with names in lower case. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>;

export function isBinaryMode(headers: Headers): boolean {
  return headers["ce-specversion"] !== undefined;
}

/** The data is the notification of S3, or one record of it. */
function parseS3({ data }: CloudEvent): Parsed {
  const isNotification = typeof data === "object" && data !== null && "Records" in data;
  return isNotification ? parseS3Records(data as { Records: unknown }) : oneEvent(parseS3Record(data));
}

function dataOf({ data, data_base64: encoded }: CloudEvent): unknown {
  if (encoded === undefined) return data;
  try {
    return JSON.parse(Buffer.from(encoded, "base64").toString());
  } catch {
    throw invalid("data_base64: expected JSON in base64");
  }
}

function decodeHeader(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw invalid("expected percent-encoded headers of a CloudEvent, got an invalid escape");
  }
}
