import { setImmediate as turn } from "node:timers/promises";

const MAGIC = 0x184d2204;
/** Bytes that are read and written before the event loop runs other tasks. */
const TURN_BYTES = 4 << 20;
/** Up to this length, a loop is faster than a call. */
const SHORT_MATCH = 32;

/**
 * Decompresses one LZ4 frame, as Arrow writes them. Checksums are not verified: Arrow's own readers do not verify them either.
 * @param length bytes of the content: nothing is written beyond them
 * @throws Error if the input is not a frame, is damaged, or contains a different number of bytes
 */
export async function decompressLz4Frame(frame: Buffer, length: number): Promise<Buffer> {
  const output = Buffer.allocUnsafeSlow(length);
  const { start, hasBlockChecksums } = readHeader(frame);
  let at = start;
  let end = 0;
  let since = 0;
  for (;;) {
    const size = frame.readUInt32LE(at);
    at += 4;
    if (size === 0) break;
    const stored = size >= 0x8000_0000;
    const bytes = size & 0x7fff_ffff;
    if (at + bytes > frame.length) throw new Error("a block of the LZ4 frame is cut off");
    const block = frame.subarray(at, at + bytes);
    const before = end;
    end = stored ? copyStored(block, output, end) : decompressBlock(block, output, end);
    at += bytes + (hasBlockChecksums ? 4 : 0);
    since += end - before + bytes + 4;
    if (since < TURN_BYTES) continue;
    since = 0;
    await turn();
  }
  if (end !== length) throw new Error(`expected ${length} bytes in the LZ4 frame, got ${end}`);
  return output;
}

function readHeader(frame: Buffer): { start: number; hasBlockChecksums: boolean } {
  if (frame.length < 7 || frame.readUInt32LE(0) !== MAGIC) throw new Error("expected an LZ4 frame");
  const flags = frame[4]!;
  if (flags >> 6 !== 1) throw new Error(`expected an LZ4 frame of version 1, got the flags ${flags}`);
  // Magic, flags and block size; if the flags say so, the content's size and a dictionary's id; then a checksum.
  const start = 6 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0) + 1;
  return { start, hasBlockChecksums: (flags & 16) !== 0 };
}

function copyStored(block: Buffer, output: Buffer, at: number): number {
  if (at + block.length > output.length) throw tooLong(output.length);
  output.set(block, at);
  return at + block.length;
}

/** Blocks refer to the content of earlier blocks, so all are decompressed into one buffer. @returns where the block ends in it */
function decompressBlock(block: Buffer, output: Buffer, at: number): number {
  let from = 0;
  let to = at;
  while (from < block.length) {
    const token = block[from++]!;
    let literals = token >> 4;
    if (literals === 15) [literals, from] = longer(block, literals, from);
    if (from + literals > block.length) throw new Error("the LZ4 frame is damaged: literals extend beyond their block");
    if (to + literals > output.length) throw tooLong(output.length);
    block.copy(output, to, from, from + literals);
    from += literals;
    to += literals;
    if (from === block.length) break;
    if (from + 2 > block.length) throw new Error("the LZ4 frame is damaged: a block ends within a match");
    const distance = block.readUInt16LE(from);
    from += 2;
    let match = token & 15;
    if (match === 15) [match, from] = longer(block, match, from);
    match += 4;
    if (distance === 0 || distance > to) throw new Error(`the LZ4 frame is damaged: a match ${distance} bytes back`);
    if (to + match > output.length) throw tooLong(output.length);
    copyMatch(output, to, distance, match);
    to += match;
  }
  return to;
}

/** A match may overlap its own output: then the bytes between are repeated. */
function copyMatch(output: Buffer, to: number, distance: number, length: number): void {
  const start = to - distance;
  if (length <= SHORT_MATCH) {
    for (let done = 0; done < length; done++) output[to + done] = output[start + done]!;
    return;
  }
  for (let done = 0; done < length; ) {
    const count = Math.min(length - done, distance + done);
    output.copyWithin(to + done, start, start + count);
    done += count;
  }
}

function longer(block: Buffer, length: number, from: number): [number, number] {
  let at = from;
  let sum = length;
  for (;;) {
    const more = block[at++];
    if (more === undefined) throw new Error("the LZ4 frame is damaged: a length extends beyond its block");
    sum += more;
    if (more !== 255) return [sum, at];
  }
}

function tooLong(length: number): Error {
  return new Error(`the LZ4 frame contains more than the expected ${length} bytes`);
}
