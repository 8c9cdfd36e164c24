import type { Multipart } from "@fastify/multipart";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { LabelmillError, systemCode } from "../../errors.ts";
import { Problem } from "../problems.ts";
import { type LabelOptions, MAX_ITEMS, UploadFieldsSchema } from "./bodies.ts";
import type { Upload } from "./uploads.ts";

/** The name of the field of files. */
const FILES_FIELD = "images";
/** The largest image: workers read no larger ones. */
const MAX_FILE_BYTES = 100_000_000;
const MAX_FIELD_BYTES = 10_000;
const MAX_FIELDS = 10;

/** What an upload contains. `names`: the names of the files, in order; undefined for a file without a name. */
export type Uploaded = { uris: string[]; names: (string | undefined)[]; options: LabelOptions };

/** What is refused while a body is read. */
type Limits = { bodyLimit: number };

/**
 * Reads an upload of images and stores each image while it arrives. Fields and files may come in any order.
 * @param digest receives everything that makes two uploads different
 * @throws Problem for a wrong field, a file that is empty or too large, no file, or too many
 */
export async function readUpload(
  request: FastifyRequest,
  upload: Upload,
  digest: { update(data: string | Uint8Array): unknown },
  { bodyLimit }: Limits,
): Promise<Uploaded> {
  const fields: Record<string, string> = {};
  const [uris, names]: [string[], (string | undefined)[]] = [[], []];
  let total = 0;
  const count = (bytes: number) => {
    total += bytes;
    if (total > bodyLimit) throw tooLarge(`at most ${bodyLimit} bytes in all (--body-limit)`);
  };
  const parts = request.parts({
    limits: {
      files: MAX_ITEMS + 1,
      fields: MAX_FIELDS,
      fieldSize: MAX_FIELD_BYTES,
      fileSize: MAX_FILE_BYTES,
      parts: MAX_ITEMS + 20,
    },
  });
  try {
    for await (const part of parts) {
      if (part.type === "field") {
        const value = fieldOf(part, fields);
        count(value.length);
        fields[part.fieldname] = value;
        continue;
      }
      if (part.fieldname !== FILES_FIELD)
        throw invalid(`expected files in the field ${FILES_FIELD}, got one in another field`);
      const number = uris.length;
      if (number >= MAX_ITEMS) throw invalid(`expected at most ${MAX_ITEMS} images, got more`);
      digest.update(`\0file:${JSON.stringify(part.filename ?? null)}:`);
      let size = 0;
      const pieces = async function* (): AsyncGenerator<Uint8Array> {
        for await (const piece of part.file as AsyncIterable<Buffer>) {
          count(piece.length);
          size += piece.length;
          digest.update(piece);
          yield piece;
        }
        if (part.file.truncated) throw tooLarge(`images of at most ${MAX_FILE_BYTES} bytes`);
        if (size === 0) throw invalid(`image ${number}: expected the bytes of an image, got none`);
      };
      uris.push(await upload.addStream(number, pieces()));
      names.push(part.filename === "" ? undefined : part.filename);
    }
  } catch (error) {
    // The rest of the body is read and dropped, until the answer closes the connection.
    request.raw.unpipe();
    request.raw.resume();
    throw problemOf(error);
  }
  if (uris.length === 0) throw invalid(`expected at least one file in the field ${FILES_FIELD}, got none`);
  const options = UploadFieldsSchema.safeParse(fields);
  if (!options.success) throw invalid(z.prettifyError(options.error).split("\n").slice(0, 2).join(" "));
  digest.update(JSON.stringify(Object.entries(fields).sort()));
  return { uris, names, options: options.data };
}

function fieldOf(part: Extract<Multipart, { type: "field" }>, before: Record<string, string>): string {
  const { fieldname, value, fieldnameTruncated, valueTruncated } = part;
  if (Object.hasOwn(UploadFieldsSchema.shape, fieldname) && !Object.hasOwn(before, fieldname) && !fieldnameTruncated) {
    if (valueTruncated) throw tooLarge(`fields of at most ${MAX_FIELD_BYTES} bytes`);
    // The parser has parsed a field of the type application/json.
    return typeof value === "string" ? value : JSON.stringify(value);
  }
  const known = Object.keys(UploadFieldsSchema.shape).join(", ");
  throw invalid(`expected each of the fields ${known} at most once, and files in ${FILES_FIELD}; got another field`);
}

function invalid(detail: string): Problem {
  return new Problem(400, "REQUEST_INVALID", detail);
}

function tooLarge(expected: string): Problem {
  return new Problem(413, "BODY_TOO_LARGE", `expected ${expected}, got more: send fewer images, or POST /v1/runs`);
}

/** Errors of the parser are errors of the request. Those of the store are not. */
function problemOf(error: unknown): unknown {
  if (error instanceof LabelmillError || !(error instanceof Error)) return error;
  const code = systemCode(error) ?? "";
  if (/^FST_.*_LIMIT$/.test(code)) return tooLarge(`at most ${MAX_ITEMS} images and ${MAX_FIELDS} fields`);
  const isOfParser = code.startsWith("FST_") || code === "ERR_STREAM_PREMATURE_CLOSE" || error.name === "Error";
  return isOfParser ? invalid("expected a body of multipart/form-data, got a malformed or cut one") : error;
}
