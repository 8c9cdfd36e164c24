import { setImmediate as turn } from "node:timers/promises";

const MAGIC = 0x184d2204;
/** What is read and unpacked before others have their turn. */
const TURN_BYTES = 4 << 20;
/** Up to here a loop is faster than a call. */
const SHORT_MATCH = 32;

/**
 * Unpacks one LZ4 frame, as Arrow writes them. Its checksums are not looked at, as Arrow's own readers do not.
 * @param length bytes of what it holds: nothing is written beyond them
 * @throws Error where it is no frame, is damaged, or holds another number of bytes
 */
export async function unpackLz4Frame(packed: Buffer, length: number): Promise<Buffer> {
  const output = Buffer.allocUnsafeSlow(length);
  const { start, hasBlockChecksums } = readHeader(packed);
  let at = start;
  let end = 0;
  let since = 0;
  for (;;) {
    const size = packed.readUInt32LE(at);
    at += 4;
    if (size === 0) break;
    const stored = size >= 0x8000_0000;
    const bytes = size & 0x7fff_ffff;
    if (at + bytes > packed.length) throw new Error("a block of the LZ4 frame is cut off");
    const block = packed.subarray(at, at + bytes);
    const before = end;
    end = stored ? copyStored(block, output, end) : unpackBlock(block, output, end);
    at += bytes + (hasBlockChecksums ? 4 : 0);
    since += end - before + bytes + 4;
    if (since < TURN_BYTES) continue;
    since = 0;
    await turn();
  }
  if (end !== length) throw new Error(`expected ${length} bytes in the LZ4 frame, it holds ${end}`);
  return output;
}

function readHeader(packed: Buffer): { start: number; hasBlockChecksums: boolean } {
  if (packed.length < 7 || packed.readUInt32LE(0) !== MAGIC) throw new Error("expected an LZ4 frame");
  const flags = packed[4]!;
  if (flags >> 6 !== 1) throw new Error(`expected an LZ4 frame of version 1, its flags are ${flags}`);
  // Magic, flags and block size; then, where the flags say so, the content's size and a dictionary's id; then a checksum.
  const start = 6 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0) + 1;
  return { start, hasBlockChecksums: (flags & 16) !== 0 };
}

function copyStored(block: Buffer, output: Buffer, at: number): number {
  if (at + block.length > output.length) throw tooLong(output.length);
  output.set(block, at);
  return at + block.length;
}

/** Blocks refer to what those before them hold, so all are unpacked into one buffer. @returns where the block ends in it */
function unpackBlock(block: Buffer, output: Buffer, at: number): number {
  let from = 0;
  let to = at;
  while (from < block.length) {
    const token = block[from++]!;
    let literals = token >> 4;
    if (literals === 15) [literals, from] = longer(block, literals, from);
    if (from + literals > block.length) throw new Error("the LZ4 frame is damaged: literals beyond their block");
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

/** A match may reach into itself: then what lies between is repeated. */
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
    if (more === undefined) throw new Error("the LZ4 frame is damaged: a length beyond its block");
    sum += more;
    if (more !== 255) return [sum, at];
  }
}

function tooLong(length: number): Error {
  return new Error(`the LZ4 frame holds more than the ${length} bytes that were told`);
}
