import { isImageName } from "./image-file.ts";
import { type TarMember, tarMembers } from "./tar.ts";
import type { TarBytes } from "./tar-bytes.ts";

/** `content` is there where it was loaded. */
export type TarPart = { member: TarMember; content?: Buffer | undefined };

/** The consecutive members of one key that has an image: of the wanted ones beside it, the first of each extension. */
export type TarRecord = { key: string; start: number; end: number; image: TarPart; beside: Map<string, TarPart> };

type Open = Omit<TarRecord, "image"> & { image?: TarPart };

type Walk = {
  /** Extensions of the members that are to be told with the image. */
  wanted?: readonly string[];
  /** The archive's end mark must come. */
  whole?: boolean;
  /** Gets what a part holds, while reading is at it, if its key is the one of the walk's record `index` (from 0). */
  load?: (member: TarMember, index: number) => Promise<Buffer | undefined>;
};

/**
 * The records of an archive in WebDataset's layout: a member's key is its path up to the first dot of its name, its extension what
 * follows that dot. A key without an image is no record.
 * @throws LabelmillError INPUT_UNREADABLE
 */
export async function* tarRecords(
  bytes: TarBytes,
  from: number,
  label: string,
  { wanted = [], whole = false, load = async () => undefined }: Walk = {},
): AsyncGenerator<TarRecord> {
  let open: Open | undefined;
  let index = 0;
  for await (const member of tarMembers(bytes, from, label, whole)) {
    const found = keyOf(member.name);
    if (found === undefined) continue;
    const { key, extension } = found;
    if (open?.key !== key) {
      if (open && isRecord(open)) {
        yield open;
        index++;
      }
      open = { key, start: member.start, end: member.end, beside: new Map() };
    }
    open.end = member.end;
    if (isImageExtension(extension)) {
      open.image ??= { member, content: await load(member, index) };
    } else if (wanted.includes(extension) && !open.beside.has(extension)) {
      open.beside.set(extension, { member, content: await load(member, index) });
    }
  }
  if (open && isRecord(open)) yield open;
}

export function isImageExtension(extension: string): boolean {
  return !extension.includes(".") && isImageName(`x.${extension}`);
}

function isRecord(open: Open): open is TarRecord {
  return open.image !== undefined;
}

/** Undefined where the name has no extension or nothing before it. */
function keyOf(name: string): { key: string; extension: string } | undefined {
  const folder = name.lastIndexOf("/") + 1;
  const dot = name.indexOf(".", folder);
  return dot <= folder ? undefined : { key: name.slice(0, dot), extension: name.slice(dot + 1).toLowerCase() };
}
