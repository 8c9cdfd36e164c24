import { compressionOf, decompress, startsWith } from "./compressions.ts";
import { Peekable } from "./peekable.ts";

/** Bytes that are needed to detect an input's compression and encoding. */
export const MAGIC_BYTES = 4;
const BOM = Buffer.of(0xef, 0xbb, 0xbf);
const UTF16_LE = Buffer.of(0xff, 0xfe);
const UTF16_BE = Buffer.of(0xfe, 0xff);

/**
 * The bytes as UTF-8 without a byte order mark. Compressed input (detected by its first bytes; several members or frames are one
 * stream) is decompressed, and UTF-16 with a mark is decoded. Invalid text stays invalid UTF-8, so that the reader of a record can
 * report it. Throws BrokenInput if compressed data is cut off or corrupt.
 */
export async function* utf8Bytes(raw: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const stored = new Peekable(raw);
  const compression = compressionOf(await stored.peek(MAGIC_BYTES));
  const plain = new Peekable(compression ? decompress(stored, compression) : stored);
  const head = await plain.peek(BOM.length);
  if (startsWith(head, UTF16_LE)) yield* fromUtf16(plain, false);
  else if (startsWith(head, UTF16_BE)) yield* fromUtf16(plain, true);
  else yield* without(plain, startsWith(head, BOM) ? BOM.length : 0);
}

/** The offset of the text, after its byte order mark, in an input that is stored as plain UTF-8. Undefined for any other input. */
export function plainTextStart(head: Buffer): number | undefined {
  if (compressionOf(head) !== undefined || startsWith(head, UTF16_LE) || startsWith(head, UTF16_BE)) return undefined;
  return startsWith(head, BOM) ? BOM.length : 0;
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

/** An incomplete character and an unpaired surrogate become a byte that is invalid in UTF-8. */
async function* fromUtf16(chunks: AsyncIterable<Buffer>, bigEndian: boolean): AsyncGenerator<Buffer> {
  const bad = Buffer.of(0xff);
  let pending: Buffer = Buffer.alloc(0);
  let first = true;
  for await (const chunk of chunks) {
    const bytes = Buffer.concat([pending, chunk]);
    // A high surrogate waits for the low one.
    let whole = bytes.length & ~1;
    const high = whole > 0 ? bytes[bigEndian ? whole - 2 : whole - 1]! : 0;
    if (high >= 0xd8 && high <= 0xdb) whole -= 2;
    pending = bytes.subarray(whole);
    yield* encoded(bytes.subarray(0, whole));
  }
  if (pending.length >= 2) yield* encoded(pending.subarray(0, 2));
  if (pending.length % 2 === 1) yield bad;

  function* encoded(units: Buffer): Generator<Buffer> {
    const text = (bigEndian ? Buffer.from(units).swap16() : units).toString("utf16le", first ? 2 : 0);
    if (units.length > 0) first = false;
    // Splits at unpaired surrogates: in a pattern with the flag `u`, a pair is one character and does not match.
    const pieces = text.split(/\p{Surrogate}/u);
    for (const [index, piece] of pieces.entries()) {
      if (index > 0) yield bad;
      if (piece !== "") yield Buffer.from(piece);
    }
  }
}
