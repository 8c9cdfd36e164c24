import type { Input } from "../../schemas/input.ts";
import type { ByteRange } from "../../storage/s3/pieces.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { FilePlace } from "./read-file.ts";

/** Where a worker reads an input: a file at its real path, or an S3 client that reads the input's URI. */
export type InputPlace = FilePlace | { s3: S3 };

/** Where the bytes of an input come from. */
export type Origin = {
  /** The name that indicates the format and that made ids begin with. */
  name: string;
  /** The name in messages. */
  label: string;
  /** The identity when it was opened. */
  input: Input;
  bytes(range?: ByteRange, signal?: AbortSignal): AsyncIterable<Buffer>;
  /** The bytes can be read only once. */
  once: boolean;
  /** To be called after the bytes were read. @throws LabelmillError INPUT_CHANGED if they may differ from those of `input` */
  checkUnchanged(): Promise<void>;
};

/** Passes on what `read` yields. @throws LabelmillError INPUT_CHANGED if the input was changed or deleted since it was planned */
export async function* unchanged<T>(origin: Origin, read: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* read;
  } catch (error) {
    // If the input changed, that is the cause of the error.
    await origin.checkUnchanged();
    throw error;
  }
  await origin.checkUnchanged();
}
