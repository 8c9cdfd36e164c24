import { basename } from "node:path";
import type { Readable } from "node:stream";
import type { Input } from "../../schemas/input.ts";
import type { ByteRange } from "../../storage/s3/pieces.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { quoted } from "../source.ts";
import { checkUnchanged, describeFile, describeUrl } from "./identity.ts";
import { checkFile, type FilePlace, inputError, namedFile, readFileBytes, readStdinBytes } from "./read.ts";
import { isS3Uri, s3Origin } from "./s3-origin.ts";

/** Where the bytes of an input come from. */
export type Origin = {
  /** The name by which the format may be known, and the ids' beginning. */
  name: string;
  label: string;
  /** What it was when it was found. */
  input: Input;
  bytes(range?: ByteRange, signal?: AbortSignal): AsyncIterable<Buffer>;
  /** The bytes can be read once only. */
  once: boolean;
  /** Called when the bytes have been read: fails with INPUT_CHANGED if they need not be those of `input`. */
  checkUnchanged(): Promise<void>;
};

/** What is read of an origin's bytes; fails with INPUT_CHANGED where they need not be those that were planned, or are gone. */
export async function* unchanged<T>(origin: Origin, read: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* read;
  } catch (error) {
    // That it is another one by now says more than what went wrong with it.
    await origin.checkUnchanged();
    throw error;
  }
  await origin.checkUnchanged();
}

/** Finds a file, an object of S3 (an `s3://` URI) or standard input. Fails with INPUT_NOT_FOUND, INPUT_UNREADABLE or INPUT_EMPTY. */
export async function openOrigin(from: string | { stdin: Readable }, s3?: S3): Promise<Origin> {
  if (typeof from !== "string") return stdinOrigin(from.stdin);
  return isS3Uri(from) ? await s3Origin(from, s3) : await fileOrigin(from);
}

/** A file that is there, readable and not empty: else INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY. */
export async function fileOrigin(path: string): Promise<Origin> {
  await checkFile(path);
  const place = namedFile(path);
  return fileAsPlanned(
    place,
    await describeFile(place).catch((error: unknown) => Promise.reject(inputError(path, error))),
  );
}

/** A file that was found to be `input` at some time before. */
export function fileAsPlanned(place: FilePlace, input: Input): Origin {
  return {
    name: basename(place.path),
    label: quoted(place.path),
    input,
    bytes: (range) => readFileBytes(place, range),
    once: false,
    checkUnchanged: () => checkUnchanged(input, () => describeFile(place)),
  };
}

export function stdinOrigin(stdin: Readable): Origin {
  return {
    name: "stdin",
    label: "standard input",
    input: describeUrl("stdin:"),
    bytes: () => readStdinBytes(stdin),
    once: true,
    checkUnchanged: async () => {},
  };
}
