import type { Input } from "../../schemas/input.ts";
import type { ByteRange } from "../../storage/s3/pieces.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { FilePlace } from "./read.ts";

/** Where a worker reads an input: a file by its real path, or the S3 client for the input's URI. */
export type InputPlace = FilePlace | { s3: S3 };

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
