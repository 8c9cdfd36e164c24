import { LabelmillError } from "../../errors.ts";
import type { PassOver } from "../discover/passed-over.ts";
import { shownMember } from "./member-name.ts";
import type { TarBytes } from "./tar-bytes.ts";

const BLOCK_BYTES = 512;
/** The most bytes of an extension of a header: pax records, a long name. */
const MAX_EXTENSION_BYTES = 1 << 20;

/**
 * A file in an archive. Its header with extensions begins at `start`, its content at `data`, and the next header at `end`. `name`: its bytes,
 * each as one character (latin1); shownMember makes the displayed form.
 */
export type TarMember = { name: string; start: number; data: number; size: number; end: number };

type Header = { name: string; size: number; type: string };
type Extended = { name?: string; size?: number };
type Bad = (why: string) => LabelmillError;

/**
 * The regular files of an archive (ustar, pax, GNU long names) from an offset on, in order. Their content is not read.
 * @param whole the archive must have its end mark. Otherwise the bytes may end after any member
 * @param passOver receives the displayed names of links, devices, pipes and members of unknown types, but not of folders
 * @throws LabelmillError INPUT_UNREADABLE if the archive is damaged, cut off, of an unsupported kind, or has a name that leads out of it
 */
export async function* tarMembers(
  bytes: TarBytes,
  from: number,
  label: string,
  whole: boolean,
  passOver: PassOver = () => {},
): AsyncGenerator<TarMember> {
  let start = from;
  let at = from;
  let extended: Extended = {};
  const bad: Bad = (why) => new LabelmillError("INPUT_UNREADABLE", `${label}, byte ${at}: ${why}`);
  while (whole || at < bytes.end) {
    const data = at + BLOCK_BYTES;
    if (data > bytes.end) throw bad("expected the archive's end mark, got the end of the file: it is cut off");
    const block = await bytes.read(at, BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) return;
    const header = readHeader(block, bad);
    const { type } = header;
    const isExtension = "xgLK".includes(type);
    const size = isExtension ? header.size : (extended.size ?? header.size);
    // Links, devices, folders and pipes have no content. Their size is ignored.
    const end = data + ("123456".includes(type) ? 0 : Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES);
    if (end > bytes.end) throw bad(`expected ${size} more bytes, got fewer: it is cut off or damaged`);
    if (isExtension) {
      if (size > MAX_EXTENSION_BYTES) throw bad(`expected at most ${MAX_EXTENSION_BYTES} bytes of header, got ${size}`);
      if (type === "x") extended = { ...extended, ...readPax(await bytes.read(data, size), bad) };
      if (type === "L") extended = { ...extended, name: textOf(await bytes.read(data, size)) };
      at = end;
      continue;
    }
    if (type === "S" || type === "M")
      throw bad("sparse files and volumes are not supported: create the archive again without them");
    const name = (extended.name ?? header.name).replace(/^(?:\.\/)+/, "");
    if (name.split("/").includes("..")) throw bad('expected names within the archive, got one with ".."');
    if (isFile(type) && !name.endsWith("/")) yield { name, start, data, size, end };
    else if (!isFile(type) && type !== "5") passOver("link-or-device", shownMember(name));
    at = end;
    start = end;
    extended = {};
  }
}

function isFile(type: string): boolean {
  return type === "0" || type === "\0" || type === "7";
}

/** Whether a file begins with the header of a member. */
export function beginsAsTar(head: Buffer): boolean {
  return head.length >= BLOCK_BYTES && hasChecksum(head.subarray(0, BLOCK_BYTES));
}

/** The checksum is the sum of the header's bytes. The bytes of the checksum itself count as spaces. */
function hasChecksum(block: Buffer): boolean {
  let sum = 8 * 0x20;
  for (const [index, byte] of block.entries()) if (index < 148 || index >= 156) sum += byte;
  return readNumber(block.subarray(148, 156)) === sum;
}

function readHeader(block: Buffer, bad: Bad): Header {
  if (!hasChecksum(block)) throw bad("expected the header of a tar member, got a block with a wrong checksum");
  const size = readNumber(block.subarray(124, 136));
  if (size === undefined) throw bad("expected the size of a member, got a negative or too large number, or no number");
  const name = textOf(block.subarray(0, 100));
  // In the GNU format, the field of ustar's name prefix has other content.
  const prefix = block.toString("latin1", 257, 263) === "ustar\0" ? textOf(block.subarray(345, 500)) : "";
  return { name: prefix === "" ? name : `${prefix}/${name}`, size, type: String.fromCharCode(block[156]!) };
}

/** Octal digits, or a big-endian number if the first bit is set. Undefined if it is neither, negative or larger than 2^53. */
function readNumber(field: Buffer): number | undefined {
  if (field[0]! < 0x80) {
    const digits = field.toString("latin1").replace(/\0.*$/s, "").trim();
    return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
  }
  if (field[0] !== 0x80) return undefined;
  const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Each record consists of its length in bytes, a space, `KEY=VALUE` and a line break. */
function readPax(records: Buffer, bad: Bad): Extended {
  const found: Extended = {};
  let at = 0;
  while (at < records.length) {
    const blank = records.indexOf(0x20, at);
    const written = records.toString("latin1", at, blank === -1 ? at : blank);
    const end = at + (/^[1-9]\d{0,6}$/.test(written) ? Number(written) : Number.POSITIVE_INFINITY);
    const equals = records.indexOf(0x3d, blank);
    if (blank === -1 || equals === -1 || equals >= end || end > records.length || records[end - 1] !== 0x0a)
      throw bad("expected pax records, got invalid data");
    const key = records.toString("latin1", blank + 1, equals);
    const value = records.toString("latin1", equals + 1, end - 1);
    if (key.startsWith("GNU.sparse."))
      throw bad("sparse files are not supported: create the archive again without them");
    if (key === "path") found.name = value;
    if (key === "size") {
      const size = /^\d{1,15}$/.test(value) ? Number(value) : undefined;
      if (size === undefined)
        throw bad("expected the size of a member in its pax records, got text that is not a number");
      found.size = size;
    }
    at = end;
  }
  return found;
}

function textOf(field: Buffer): string {
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end === -1 ? field.length : end);
}
