import type { Peekable } from "../bytes/read.ts";

/** The beginning of an input's text. `whole`: there is no more of it. */
export type Head = { bytes: Buffer; whole: boolean };

/** How much is looked at, in bytes, as long as that is not enough. The last one is the bound. */
const SIZES = [64 << 10, 512 << 10, 4 << 20, 8 << 20];

/** The input's first 64 KiB, or more of it until `isEnough`, 8 MiB at most. It does not depend on the size of the stream's chunks. */
export async function headOf(bytes: Peekable, isEnough: (head: Head) => boolean): Promise<Head> {
  let head: Head = { bytes: Buffer.alloc(0), whole: false };
  for (const size of SIZES) {
    const held = await bytes.peek(size);
    head = { bytes: held.subarray(0, size), whole: held.length < size };
    if (head.whole || isEnough(head)) break;
  }
  return head;
}

const LF = 0x0a;
const CR = 0x0d;
const QUOTE = 0x22;

/** So many line ends outside quotes are enough to tell a table from text. */
const ENOUGH_LINES = 20;

/** Whether the head holds the first records of a table, whatever their size. */
export function holdsRecords({ bytes }: Head): boolean {
  let lines = 0;
  let isQuoted = false;
  for (const byte of bytes) {
    if (byte === QUOTE) isQuoted = !isQuoted;
    else if (!isQuoted && (byte === LF || byte === CR) && ++lines >= ENOUGH_LINES) return true;
  }
  return false;
}
