import { LabelmillError } from "../../errors.ts";
import type { PassOver } from "../discover/passed-over.ts";
import { shownMember } from "./member-name.ts";
import type { TarBytes } from "./tar-bytes.ts";

const BLOCK_BYTES = 512;
/** The most bytes of what extends one header: pax records, a long name. */
const MAX_EXTENSION_BYTES = 1 << 20;

/**
 * A file in an archive: its header begins at `start`, with what extends it, its own bytes at `data`, and the next header at `end`. `name`: its
 * bytes, each as one character (latin1); shownMember makes it fit to be shown.
 */
export type TarMember = { name: string; start: number; data: number; size: number; end: number };

type Header = { name: string; size: number; type: string };
type Extended = { name?: string; size?: number };
type Bad = (why: string) => LabelmillError;

/**
 * The regular files of an archive (ustar, pax, GNU long names) from an offset on, in order. Of the files' own bytes none are read.
 * @param passOver gets the names, fit to be shown, of links, devices, pipes and members of unknown types; folders are none
 * @param whole the archive's end mark must come; else the bytes may end behind any member
 * @throws LabelmillError INPUT_UNREADABLE: damaged, cut off, of a kind that is not read, or with a name that leads out of it
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
    if (data > bytes.end) throw bad("expected the archive's end mark, came the end: it is cut off");
    const block = await bytes.read(at, BLOCK_BYTES);
    if (block.every((byte) => byte === 0)) return;
    const header = readHeader(block, bad);
    const { type } = header;
    const isExtension = "xgLK".includes(type);
    const size = isExtension ? header.size : (extended.size ?? header.size);
    // Links, devices, folders and pipes have no bytes, whatever their size says.
    const end = data + ("123456".includes(type) ? 0 : Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES);
    if (end > bytes.end) throw bad(`${size} bytes were to follow, and there are fewer: it is cut off or damaged`);
    if (isExtension) {
      if (size > MAX_EXTENSION_BYTES)
        throw bad(`expected at most ${MAX_EXTENSION_BYTES} bytes of header, came ${size}`);
      if (type === "x") extended = { ...extended, ...readPax(await bytes.read(data, size), bad) };
      if (type === "L") extended = { ...extended, name: textOf(await bytes.read(data, size)) };
      at = end;
      continue;
    }
    if (type === "S" || type === "M") throw bad("sparse files and volumes are not read: pack it anew without");
    const name = (extended.name ?? header.name).replace(/^(?:\.\/)+/, "");
    if (name.split("/").includes("..")) throw bad('expected names within the archive, came one with ".."');
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

/** Whether a file's beginning is the header of a member. */
export function beginsAsTar(head: Buffer): boolean {
  return head.length >= BLOCK_BYTES && hasChecksum(head.subarray(0, BLOCK_BYTES));
}

/** The sum is over the header's bytes, those of the sum itself counted as blanks. */
function hasChecksum(block: Buffer): boolean {
  let sum = 8 * 0x20;
  for (const [index, byte] of block.entries()) if (index < 148 || index >= 156) sum += byte;
  return readNumber(block.subarray(148, 156)) === sum;
}

function readHeader(block: Buffer, bad: Bad): Header {
  if (!hasChecksum(block)) throw bad("expected the header of a tar archive's member, its checksum does not fit");
  const size = readNumber(block.subarray(124, 136));
  if (size === undefined) throw bad("expected a member's size, came a negative one, one too large, or no number");
  const name = textOf(block.subarray(0, 100));
  // GNU's own format has other things where the ustar format has the name's beginning.
  const prefix = block.toString("latin1", 257, 263) === "ustar\0" ? textOf(block.subarray(345, 500)) : "";
  return { name: prefix === "" ? name : `${prefix}/${name}`, size, type: String.fromCharCode(block[156]!) };
}

/** Octal digits, or, marked by the first bit, a big-endian number; undefined where it is neither, negative or beyond 2^53. */
function readNumber(field: Buffer): number | undefined {
  if (field[0]! < 0x80) {
    const digits = field.toString("latin1").replace(/\0.*$/s, "").trim();
    return /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : undefined;
  }
  if (field[0] !== 0x80) return undefined;
  const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Each record is its own length in bytes, a blank, `KEY=VALUE` and a line break. */
function readPax(records: Buffer, bad: Bad): Extended {
  const found: Extended = {};
  let at = 0;
  while (at < records.length) {
    const blank = records.indexOf(0x20, at);
    const written = records.toString("latin1", at, blank === -1 ? at : blank);
    const end = at + (/^[1-9]\d{0,6}$/.test(written) ? Number(written) : Number.POSITIVE_INFINITY);
    const equals = records.indexOf(0x3d, blank);
    if (blank === -1 || equals === -1 || equals >= end || end > records.length || records[end - 1] !== 0x0a)
      throw bad("expected pax records, came what is none");
    const key = records.toString("latin1", blank + 1, equals);
    const value = records.toString("latin1", equals + 1, end - 1);
    if (key.startsWith("GNU.sparse.")) throw bad("sparse files are not read: pack it anew without");
    if (key === "path") found.name = value;
    if (key === "size") {
      const size = /^\d{1,15}$/.test(value) ? Number(value) : undefined;
      if (size === undefined) throw bad("expected a member's size in its pax records, came no number");
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
