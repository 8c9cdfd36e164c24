import type { Readable } from "node:stream";
import type { Input } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { fileAsPlanned, fileOrigin, stdinOrigin } from "./file-origin.ts";
import type { InputPlace, Origin } from "./origin.ts";
import { isS3Uri, objectAsPlanned, s3Origin } from "./s3-origin.ts";

/** Opens a file, an S3 object (an `s3://` URI) or standard input. @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY */
export async function openOrigin(from: string | { stdin: Readable }, s3?: S3): Promise<Origin> {
  if (typeof from !== "string") return stdinOrigin(from.stdin);
  return isS3Uri(from) ? await s3Origin(from, s3) : await fileOrigin(from);
}

/** The input of a split. Its bytes must be those that were planned. */
export function originAsPlanned(input: Input, place: InputPlace): Origin {
  return "path" in place ? fileAsPlanned(place, input) : objectAsPlanned(input, place.s3);
}
