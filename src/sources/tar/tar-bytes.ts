import type { FileHandle } from "node:fs/promises";
import { LabelmillError } from "../../errors.ts";
import type { Input } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri } from "../../storage/s3/uri.ts";
import type { InputPlace } from "../bytes/origin.ts";
import { inputError } from "../bytes/read-file.ts";

/** Bytes of a file that are read at once: small members are read together with the headers around them. */
const WINDOW_BYTES = 4096;
/** A gap up to this size is read and discarded. A larger one is skipped with a new request. */
const PASSED_BYTES = 1 << 20;

/** The bytes of an archive up to `end`. They are read forward: no call may begin before the end of the previous one. */
export interface TarBytes extends AsyncDisposable {
  readonly end: number;
  /** `length` bytes at `offset`; they must be before `end`. @throws LabelmillError INPUT_CHANGED, and errors of the store */
  read(offset: number, length: number): Promise<Buffer>;
}

/** The bytes of a file, or of the object with the input's ETag. */
export async function openTarBytes(
  input: Input,
  place: InputPlace,
  { end, signal }: { end: number; signal?: AbortSignal | undefined },
): Promise<TarBytes> {
  if ("s3" in place) return new ObjectBytes(place.s3, input, end, signal);
  const file = await place.open().catch((error: unknown) => Promise.reject(inputError(place.path, error)));
  return new FileBytes(file, input, end, signal);
}

class FileBytes implements TarBytes {
  readonly end: number;
  readonly #file: FileHandle;
  readonly #input: Input;
  readonly #signal: AbortSignal | undefined;
  #window: Buffer = Buffer.alloc(0);
  #windowAt = 0;

  constructor(file: FileHandle, input: Input, end: number, signal: AbortSignal | undefined) {
    this.#file = file;
    this.#input = input;
    this.#signal = signal;
    this.end = end;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const within = offset - this.#windowAt;
    if (within >= 0 && within + length <= this.#window.length) return this.#window.subarray(within, within + length);
    this.#signal?.throwIfAborted();
    this.#window = await this.#readAt(offset, Math.max(length, Math.min(WINDOW_BYTES, this.end - offset)));
    this.#windowAt = offset;
    return this.#window.subarray(0, length);
  }

  async #readAt(offset: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#file.read(buffer, done, length - done, offset + done);
      if (bytesRead === 0) throw shrunk(this.#input);
      done += bytesRead;
    }
    return buffer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

class ObjectBytes implements TarBytes {
  readonly end: number;
  readonly #s3: S3;
  readonly #input: Input;
  readonly #signal: AbortSignal | undefined;
  #stream: AsyncGenerator<Buffer> | undefined;
  #piece: Buffer = Buffer.alloc(0);
  /** The offset of the piece. */
  #at = 0;

  constructor(s3: S3, input: Input, end: number, signal: AbortSignal | undefined) {
    this.#s3 = s3;
    this.#input = input;
    this.#signal = signal;
    this.end = end;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (this.#stream === undefined || offset > this.#at + this.#piece.length + PASSED_BYTES) await this.#begin(offset);
    while (this.#at < offset) {
      if (this.#piece.length === 0) await this.#next();
      this.#take(Math.min(offset - this.#at, this.#piece.length));
    }
    const taken: Buffer[] = [];
    for (let done = 0; done < length; ) {
      if (this.#piece.length === 0) await this.#next();
      const bytes = this.#take(Math.min(length - done, this.#piece.length));
      taken.push(bytes);
      done += bytes.length;
    }
    return taken.length === 1 ? taken[0]! : Buffer.concat(taken);
  }

  async #begin(offset: number): Promise<void> {
    await this.#stream?.return(undefined);
    const etag = this.#input.hash?.replace(/^etag:/, "");
    this.#stream = this.#s3.stream(parseS3Uri(this.#input.uri), {
      range: { start: offset, end: this.end },
      ...(etag ? { etag } : {}),
      ...(this.#signal ? { signal: this.#signal } : {}),
    });
    this.#piece = Buffer.alloc(0);
    this.#at = offset;
  }

  async #next(): Promise<void> {
    const { value, done } = await this.#stream!.next();
    if (done) throw shrunk(this.#input);
    this.#piece = value;
  }

  #take(length: number): Buffer {
    const bytes = this.#piece.subarray(0, length);
    this.#piece = this.#piece.subarray(length);
    this.#at += length;
    return bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream?.return(undefined);
  }
}

function shrunk({ uri }: Input): LabelmillError {
  return new LabelmillError(
    "INPUT_CHANGED",
    `${uri} changed while it was read: it became shorter; label it into another --out`,
  );
}
