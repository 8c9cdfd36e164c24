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

/** Whether it is no object but all that begins with it: a bucket, or what ends in `/`. */
export function isPrefix({ key }: S3Place): boolean {
  return key === "" || key.endsWith("/");
}

/**
 * An object that is there, readable and not empty: else INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, STORE_FAILED. Its bytes are those of the
 * ETag that it had then, or reading them fails with INPUT_CHANGED.
 */
export async function s3Origin(from: string, s3: S3 | undefined): Promise<Origin> {
  const client = given(from, s3);
  const at = parseS3Uri(from);
  const uri = s3Uri(at);
  if (isPrefix(at)) {
    throw new LabelmillError("INPUT_UNREADABLE", `expected an object, but ${quoted(uri)} is a bucket or prefix`);
  }
  const found = await client.head(at).catch((error: unknown) => Promise.reject(s3InputError(uri, error)));
  if (found.size === 0) throw new EmptyInput(`${quoted(uri)} is empty`, "empty");
  return objectAsPlanned(describeObject(uri, found), client);
}

/** An object that was found to be `input` at some time before. */
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
        // Says what is there now, as of a file.
        if (code === "INPUT_CHANGED" || code === "STORE_NOT_FOUND") await checkUnchanged(input, describe);
        throw error;
      }
    },
    once: false,
    // The ETag holds for all that was read.
    checkUnchanged: async () => {},
  };
}

/** The S3 to read an `s3://` input from. */
export function given(from: string, s3: S3 | undefined): S3 {
  if (s3 !== undefined) return s3;
  throw new LabelmillError("INPUT_UNREADABLE", `${quoted(from)}: expected an S3 client with it, got none`);
}

/** Why an input on S3 cannot be read: the store's own line (STORE_FAILED), unless it is only not there. */
export function s3InputError(uri: string, error: unknown): unknown {
  if (!(error instanceof LabelmillError) || error.code !== "STORE_NOT_FOUND") return error;
  const message = `no such object: ${quoted(uri)}; a prefix ends in "/"`;
  return new LabelmillError("INPUT_NOT_FOUND", message, { cause: error });
}
