import { promisify } from "node:util";
import { zstdDecompress } from "node:zlib";
import { messageOf } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { cacheKey, ENTRY_BYTES } from "../bytes/cache-key.ts";
import { decompressLz4Frame } from "../bytes/lz4.ts";
import type { Origin } from "../bytes/origin.ts";
import { readRange } from "../bytes/read-range.ts";
import { type BatchHeader, unreadable } from "./messages.ts";

/** The largest uncompressed buffer: the size that a buffer states is not trusted. */
const MAX_UNCOMPRESSED_BYTES = 512 << 20;
/** A compressed buffer begins with its uncompressed length, or -1 if it is stored uncompressed. */
const PREFIX_BYTES = 8;

/** A body up to this size is read at once. In a larger one, each buffer is a separate request. */
const SMALL_BODY_BYTES = 1 << 20;

/** Output chunks of zstd: the size of the whole buffer if possible, because each chunk stays in memory as a whole. */
const MIN_CHUNK_BYTES = 64;
const MAX_CHUNK_BYTES = 64 << 20;

const unzstd = promisify(zstdDecompress);

/** A buffer is decompressed as a whole, and a worker reads the slices of one batch in turn, so recent buffers are kept. */
const uncompressed = new ByteCache<Buffer>(128 << 20, (bytes) => bytes.length + ENTRY_BYTES);

const bodies = new ByteCache<Buffer>(32 << 20, (bytes) => bytes.length + ENTRY_BYTES);

/** How a buffer is stored: at offset `at`, with `size` uncompressed bytes. `compressed`: its stored length, if it is compressed. */
type Form = { size: number; at: number; compressed?: number };
/** Forms of the buffers that were examined, by number. */
export type BufferForms = Map<number, Form>;

/** The buffers of one batch. Their content is read on demand. */
export class BatchBuffers {
  readonly header: BatchHeader;
  readonly #origin: Origin;
  readonly #forms: BufferForms;

  constructor(origin: Origin, header: BatchHeader, forms: BufferForms = new Map()) {
    this.#origin = origin;
    this.header = header;
    this.#forms = forms;
  }

  /** Uncompressed size of a buffer in bytes. @throws LabelmillError INPUT_UNREADABLE */
  async size(index: number): Promise<number> {
    return (await this.#form(index)).size;
  }

  /**
   * Bytes `start` to `end` (exclusive) of a buffer, decompressed, in memory of their own.
   * @throws LabelmillError INPUT_UNREADABLE if the buffer is shorter or damaged
   */
  async bytes(index: number, start: number, end: number): Promise<Buffer> {
    if (end === start) return Buffer.alloc(0);
    const { size, at, compressed } = await this.#form(index);
    if (!(start >= 0 && start <= end && end <= size))
      throw unreadable(this.#origin, `${this.#where(index)} has ${size} bytes, but its batch needs ${end}`);
    if (compressed === undefined) return await this.#read(at + start, at + end);
    const whole = await uncompressed.get(cacheKey(this.#origin, at), () =>
      this.#decompress(index, at, compressed, size),
    );
    // A copy. A view would keep the whole buffer in memory as long as a row is kept.
    return Buffer.from(whole.subarray(start, end));
  }

  /** Stored bytes of the input. */
  async #read(start: number, end: number): Promise<Buffer> {
    const { bodyAt, bodyLength } = this.header;
    if (bodyLength > SMALL_BODY_BYTES) return Buffer.from(await readRange(this.#origin, start, end));
    const body = await bodies.get(cacheKey(this.#origin, bodyAt), async () =>
      Buffer.from(await readRange(this.#origin, bodyAt, bodyAt + bodyLength)),
    );
    return Buffer.from(body.subarray(start - bodyAt, end - bodyAt));
  }

  async #form(index: number): Promise<Form> {
    const form = this.#forms.get(index) ?? (await this.#readForm(index));
    this.#forms.set(index, form);
    return form;
  }

  async #readForm(index: number): Promise<Form> {
    const { buffers, bodyAt, codec } = this.header;
    const { offset, length } = buffers[index]!;
    const at = bodyAt + offset;
    if (codec === "none" || length === 0) return { size: length, at };
    if (length < PREFIX_BYTES)
      throw unreadable(
        this.#origin,
        `${this.#where(index)} has only ${length} bytes, expected at least ${PREFIX_BYTES}`,
      );
    const prefix = await this.#read(at, at + PREFIX_BYTES);
    const size = Number(prefix.readBigInt64LE());
    const rest = { at: at + PREFIX_BYTES, compressed: length - PREFIX_BYTES };
    if (size === -1) return { size: rest.compressed, at: rest.at };
    // Compressed data is at most slightly longer than the data.
    if (size >= 0 && Math.max(size, rest.compressed / 2) <= MAX_UNCOMPRESSED_BYTES) return { size, ...rest };
    const expected = `expected at most ${MAX_UNCOMPRESSED_BYTES} uncompressed bytes`;
    const message = `${this.#where(index)}: ${expected}, got ${size}: write the file with smaller record batches`;
    throw unreadable(this.#origin, message);
  }

  async #decompress(index: number, at: number, length: number, size: number): Promise<Buffer> {
    const bytes = await this.#read(at, at + length);
    try {
      if (this.header.codec === "lz4") return await decompressLz4Frame(bytes, size);
      const chunkSize = Math.min(Math.max(size, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES);
      const whole = await unzstd(bytes, { maxOutputLength: Math.max(1, size), chunkSize });
      if (whole.length !== size) throw new Error(`expected ${size} bytes, got ${whole.length}`);
      return whole;
    } catch (error) {
      const why = messageOf(error).slice(0, 200);
      throw unreadable(
        this.#origin,
        `${this.#where(index)} cannot be decompressed, the file is corrupt there: ${why}`,
        error,
      );
    }
  }

  #where(index: number): string {
    return `buffer ${index} of the batch at byte ${this.header.bodyAt}`;
  }
}
