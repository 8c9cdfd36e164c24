import { promisify } from "node:util";
import { zstdDecompress } from "node:zlib";
import { messageOf } from "../../errors.ts";
import { ByteCache } from "../bytes/byte-cache.ts";
import { ENTRY_BYTES, identityOf } from "../bytes/cache-key.ts";
import { unpackLz4Frame } from "../bytes/lz4.ts";
import type { Origin } from "../bytes/origin.ts";
import { rangeOf } from "../bytes/read-range.ts";
import { type BatchHeader, unreadable } from "./messages.ts";

/** The largest buffer, unpacked: what a buffer says of its size is not to be believed. */
const MAX_UNPACKED_BYTES = 512 << 20;
/** Before a packed buffer stands how long it is, or that it is stored as it is. */
const PREFIX_BYTES = 8;

/** A body of so many bytes is read at once: else each of its buffers is a request of its own. */
const SMALL_BODY_BYTES = 1 << 20;

/** What zstd unpacks into at once: as much as there is, for each of these pieces stays in memory as a whole. */
const MIN_CHUNK_BYTES = 64;
const MAX_CHUNK_BYTES = 64 << 20;

const unzstd = promisify(zstdDecompress);

/** A buffer is unpacked as a whole, and the slices of one batch follow one another in a worker: what was unpacked last is kept. */
const unpacked = new ByteCache<Buffer>(128 << 20, (bytes) => bytes.length + ENTRY_BYTES);

const bodies = new ByteCache<Buffer>(32 << 20, (bytes) => bytes.length + ENTRY_BYTES);

/** How a buffer is stored: `packed` bytes from `at` on, or, without it, as it is. */
type Form = { size: number; at: number; packed?: number };
/** Of a batch's buffers those that were looked at, by their numbers. */
export type BufferForms = Map<number, Form>;

/** The buffers of one batch. What lies in them is read as it is asked for. */
export class BatchBuffers {
  readonly header: BatchHeader;
  readonly #origin: Origin;
  readonly #forms: BufferForms;

  constructor(origin: Origin, header: BatchHeader, forms: BufferForms = new Map()) {
    this.#origin = origin;
    this.header = header;
    this.#forms = forms;
  }

  /** Bytes of a buffer, unpacked. @throws LabelmillError INPUT_UNREADABLE */
  async size(index: number): Promise<number> {
    return (await this.#form(index)).size;
  }

  /**
   * Bytes `start` to `end`, excluded, of a buffer, unpacked; they share no memory with anything else.
   * @throws LabelmillError INPUT_UNREADABLE where the buffer is shorter, or damaged
   */
  async bytes(index: number, start: number, end: number): Promise<Buffer> {
    if (end === start) return Buffer.alloc(0);
    const { size, at, packed } = await this.#form(index);
    if (!(start >= 0 && start <= end && end <= size))
      throw unreadable(this.#origin, `${this.#where(index)} has ${size} bytes, its batch needs those up to ${end}`);
    if (packed === undefined) return await this.#read(at + start, at + end);
    const whole = await unpacked.get(identityOf(this.#origin, at), () => this.#unpack(index, at, packed, size));
    // A copy: else a row that is kept would keep all of the buffer.
    return Buffer.from(whole.subarray(start, end));
  }

  /** Bytes of the input as they are. */
  async #read(start: number, end: number): Promise<Buffer> {
    const { bodyAt, bodyLength } = this.header;
    if (bodyLength > SMALL_BODY_BYTES) return Buffer.from(await rangeOf(this.#origin, start, end));
    const body = await bodies.get(identityOf(this.#origin, bodyAt), async () =>
      Buffer.from(await rangeOf(this.#origin, bodyAt, bodyAt + bodyLength)),
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
    if (length < PREFIX_BYTES) throw unreadable(this.#origin, `${this.#where(index)} has only ${length} bytes`);
    const prefix = await this.#read(at, at + PREFIX_BYTES);
    const size = Number(prefix.readBigInt64LE());
    const rest = { at: at + PREFIX_BYTES, packed: length - PREFIX_BYTES };
    if (size === -1) return { size: rest.packed, at: rest.at };
    // What can be packed badly is hardly longer for it.
    if (size >= 0 && Math.max(size, rest.packed / 2) <= MAX_UNPACKED_BYTES) return { size, ...rest };
    const expected = `expected at most ${MAX_UNPACKED_BYTES} bytes, unpacked`;
    const message = `${this.#where(index)} has ${size}, ${expected}: write the file with smaller record batches`;
    throw unreadable(this.#origin, message);
  }

  async #unpack(index: number, at: number, packed: number, size: number): Promise<Buffer> {
    const bytes = await this.#read(at, at + packed);
    try {
      if (this.header.codec === "lz4") return await unpackLz4Frame(bytes, size);
      const chunkSize = Math.min(Math.max(size, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES);
      const whole = await unzstd(bytes, { maxOutputLength: Math.max(1, size), chunkSize });
      if (whole.length !== size) throw new Error(`expected ${size} bytes, it holds ${whole.length}`);
      return whole;
    } catch (error) {
      const why = messageOf(error).slice(0, 200);
      throw unreadable(
        this.#origin,
        `${this.#where(index)} cannot be unpacked, the file is corrupt there: ${why}`,
        error,
      );
    }
  }

  #where(index: number): string {
    return `buffer ${index} of the batch at byte ${this.header.bodyAt}`;
  }
}
