import { posix } from "node:path";
import { LabelmillError } from "../../errors.ts";
import type { Input } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri, type S3Place, s3Uri } from "../../storage/s3/uri.ts";
import { quoted } from "../source.ts";
import { EmptyInput } from "./empty-input.ts";
import { checkUnchanged, describeObject } from "./input-identity.ts";
import type { Origin } from "./origin.ts";

export function isS3Uri(from: string): boolean {
  return /^s3:\/\//i.test(from);
}

/** Whether a place means all objects below it: a bucket, or a key that ends in `/`. */
export function isPrefix({ key }: S3Place): boolean {
  return key === "" || key.endsWith("/");
}

/**
 * An S3 object. Its bytes are read with the ETag that it has now; if the object changes, reading fails with INPUT_CHANGED.
 * @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, STORE_FAILED
 */
export async function s3Origin(from: string, s3: S3 | undefined): Promise<Origin> {
  const client = requireS3(from, s3);
  const at = parseS3Uri(from);
  const uri = s3Uri(at);
  if (isPrefix(at)) {
    throw new LabelmillError("INPUT_UNREADABLE", `expected an object, but ${quoted(uri)} is a bucket or prefix`);
  }
  const found = await client.head(at).catch((error: unknown) => Promise.reject(s3InputError(uri, error)));
  if (found.size === 0) throw new EmptyInput(`${quoted(uri)} is empty`, "empty");
  return objectAsPlanned(describeObject(uri, found), client);
}

/** An object that was described as `input` when the run was planned. */
export function objectAsPlanned(input: Input, client: S3): Origin {
  const { uri } = input;
  const at = parseS3Uri(uri);
  const etag = input.hash!.slice("etag:".length);
  const describe = async () => describeObject(uri, await client.head(at));
  return {
    name: posix.basename(at.key),
    label: quoted(uri),
    input,
    async *bytes(range, signal) {
      try {
        yield* client.stream(at, { etag, ...(range ? { range } : {}), ...(signal ? { signal } : {}) });
      } catch (error) {
        const code = error instanceof LabelmillError && error.code;
        // The message describes the object as it is now, as for a file.
        if (code === "INPUT_CHANGED" || code === "STORE_NOT_FOUND") await checkUnchanged(input, describe);
        throw error;
      }
    },
    once: false,
    // Every read requires the ETag.
    checkUnchanged: async () => {},
  };
}

/** The S3 client, which an `s3://` input needs. @throws LabelmillError INPUT_UNREADABLE if there is no client */
export function requireS3(from: string, s3: S3 | undefined): S3 {
  if (s3 !== undefined) return s3;
  throw new LabelmillError("INPUT_UNREADABLE", `${quoted(from)}: expected an S3 client to read it, got none`);
}

/** Why an input on S3 cannot be read: INPUT_NOT_FOUND if it does not exist, else the error of the store. */
export function s3InputError(uri: string, error: unknown): unknown {
  if (!(error instanceof LabelmillError) || error.code !== "STORE_NOT_FOUND") return error;
  const message = `no such object: ${quoted(uri)}; a prefix ends in "/"`;
  return new LabelmillError("INPUT_NOT_FOUND", message, { cause: error });
}
