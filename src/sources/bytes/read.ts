import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { type OpenFile, openRegular } from "../../regular-file.ts";
import type { ByteRange } from "../../storage/s3/pieces.ts";
import { quoted } from "../source.ts";
import { PACKINGS, unpack } from "./compressions.ts";
import { EmptyInput } from "./empty-input.ts";

const READ_BYTES = 256 * 1024;
/** What is looked at to find out how an input is packed and encoded. */
export const MAGIC_BYTES = 4;
const BOM = Buffer.of(0xef, 0xbb, 0xbf);
const UTF16_LE = Buffer.of(0xff, 0xfe);
const UTF16_BE = Buffer.of(0xfe, 0xff);

/** A stream of bytes of which the beginning can be looked at first. An error met while looking is thrown where reading gets there. */
export class Peekable implements AsyncIterable<Buffer> {
  readonly #chunks: AsyncIterator<Buffer>;
  #head: Buffer[] = [];
  #done = false;
  #failure: unknown;

  constructor(chunks: AsyncIterable<Buffer>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** The first `length` bytes or more, fewer only where the stream is shorter. */
  async peek(length: number): Promise<Buffer> {
    let held = this.#head.reduce((sum, chunk) => sum + chunk.length, 0);
    try {
      while (!this.#done && held < length) {
        const { value, done } = await this.#chunks.next();
        if (done) {
          this.#done = true;
        } else {
          this.#head.push(value);
          held += value.length;
        }
      }
    } catch (error) {
      this.#done = true;
      this.#failure = error;
    }
    return Buffer.concat(this.#head);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    try {
      yield* this.#head.splice(0);
      if (this.#failure !== undefined) throw this.#failure;
      while (!this.#done) {
        const { value, done } = await this.#chunks.next();
        if (done) this.#done = true;
        else yield value;
      }
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}

/** Refuses what cannot be read as one file: INPUT_NOT_FOUND, INPUT_UNREADABLE (a folder, a pipe, a device, no permission), INPUT_EMPTY. */
export async function checkFile(path: string): Promise<void> {
  try {
    const found = await stat(path);
    if (!found.isFile()) {
      const kind = found.isDirectory() ? "a folder" : "a pipe, socket or device";
      throw new LabelmillError("INPUT_UNREADABLE", `expected a regular file, but ${quoted(path)} is ${kind}`);
    }
    if (found.size === 0) throw new EmptyInput(`${quoted(path)} is empty`, "empty");
    await access(path, constants.R_OK);
  } catch (error) {
    throw inputError(path, error);
  }
}

/** A file: its path, for messages and its identity, and how it is opened. */
export type FilePlace = { path: string; open: OpenFile };

/** A file that the one who started this process named: links in its path are followed. */
export function namedFile(path: string): FilePlace {
  return { path, open: () => openRegular(path) };
}

/** A file's bytes as they are, or those from `start` up to `end`, excluded. Fails with INPUT_NOT_FOUND or INPUT_UNREADABLE. */
export async function* readFileBytes(
  { path, open }: FilePlace,
  range: ByteRange = { start: 0 },
): AsyncGenerator<Buffer> {
  const { start, end } = range;
  try {
    // The stream closes it.
    const file = await open();
    yield* file.createReadStream({
      highWaterMark: READ_BYTES,
      start,
      ...(end === undefined ? {} : { end: end - 1 }),
    });
  } catch (error) {
    throw inputError(path, error);
  }
}

/** Standard input's bytes, which can be read once. */
export async function* readStdinBytes(stdin: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stdin) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  } catch (error) {
    throw inputError("standard input", error);
  }
}

/** Why an input cannot be read, as an error of ours that names it. */
export function inputError(path: string, error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  const code = systemCode(error);
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new LabelmillError("INPUT_NOT_FOUND", `no such file or folder: ${quoted(path)}`, { cause: error });
  }
  return new LabelmillError("INPUT_UNREADABLE", `cannot read ${quoted(path)}: ${messageOf(error)}`, { cause: error });
}

/**
 * The bytes as UTF-8 without a byte order mark: gzip and zstd unpacked (found by their first bytes, several members or frames read as
 * one stream), UTF-16 with a mark decoded. What is no valid text stays invalid UTF-8, so that whoever reads a record can say so of
 * it. Throws BrokenInput where an archive breaks.
 */
export async function* utf8Bytes(raw: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const packed = new Peekable(raw);
  const packing = packingOf(await packed.peek(MAGIC_BYTES));
  const plain = new Peekable(packing ? unpack(packed, packing) : packed);
  const head = await plain.peek(BOM.length);
  if (begins(head, UTF16_LE)) yield* fromUtf16(plain, false);
  else if (begins(head, UTF16_BE)) yield* fromUtf16(plain, true);
  else yield* without(plain, begins(head, BOM) ? BOM.length : 0);
}

/** Where the text begins in an input that is UTF-8 as it lies there: after its byte order mark. Undefined for all others. */
export function plainTextStart(head: Buffer): number | undefined {
  if (packingOf(head) !== undefined || begins(head, UTF16_LE) || begins(head, UTF16_BE)) return undefined;
  return begins(head, BOM) ? BOM.length : 0;
}

function packingOf(head: Buffer): (typeof PACKINGS)[number] | undefined {
  return PACKINGS.find(({ magic }) => begins(head, magic));
}

function begins(head: Buffer, magic: Uint8Array): boolean {
  return head.subarray(0, magic.length).equals(magic);
}

/** The bytes after the first `length`. */
export async function* without(chunks: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer> {
  let skip = length;
  for await (const chunk of chunks) {
    const rest = chunk.subarray(skip);
    skip -= chunk.length - rest.length;
    if (rest.length > 0) yield rest;
  }
}

/** Half a character and halves that are out of place become a byte that is not UTF-8. */
async function* fromUtf16(chunks: AsyncIterable<Buffer>, bigEndian: boolean): AsyncGenerator<Buffer> {
  const bad = Buffer.of(0xff);
  let held: Buffer = Buffer.alloc(0);
  let first = true;
  for await (const chunk of chunks) {
    const bytes = Buffer.concat([held, chunk]);
    // The high half of a pair waits for the low one.
    let whole = bytes.length & ~1;
    const high = whole > 0 ? bytes[bigEndian ? whole - 2 : whole - 1]! : 0;
    if (high >= 0xd8 && high <= 0xdb) whole -= 2;
    held = bytes.subarray(whole);
    yield* encoded(bytes.subarray(0, whole));
  }
  if (held.length >= 2) yield* encoded(held.subarray(0, 2));
  if (held.length % 2 === 1) yield bad;

  function* encoded(units: Buffer): Generator<Buffer> {
    const text = (bigEndian ? Buffer.from(units).swap16() : units).toString("utf16le", first ? 2 : 0);
    if (units.length > 0) first = false;
    // Splits at halves that stand alone; in a pattern with `u` a pair is one character and does not match.
    const parts = text.split(/\p{Surrogate}/u);
    for (const [index, part] of parts.entries()) {
      if (index > 0) yield bad;
      if (part !== "") yield Buffer.from(part);
    }
  }
}
