import { isUtf8 } from "node:buffer";

/**
 * The displayed form of a member's name. Names are compared by their bytes, each stored as one character (latin1). A name in UTF-8 is shown
 * unchanged. In a name that is not UTF-8, or that contains such an escape itself, each invalid byte is written as `\xE9` and each backslash is
 * doubled. So different names are never displayed the same.
 */
export function shownMember(raw: string): string {
  const bytes = Buffer.from(raw, "latin1");
  if (isUtf8(bytes) && !/\\(?:\\|x[0-9A-F]{2})/.test(raw)) return bytes.toString("utf8");
  let shown = "";
  for (let at = 0; at < bytes.length; ) {
    const length = [1, 2, 3, 4].find((many) => at + many <= bytes.length && isUtf8(bytes.subarray(at, at + many)));
    if (length === undefined) shown += `\\x${bytes[at]!.toString(16).toUpperCase().padStart(2, "0")}`;
    else shown += bytes.toString("utf8", at, at + length).replace("\\", "\\\\");
    at += length ?? 1;
  }
  return shown;
}

/** WebDataset's key of a member: its path up to the first dot of its name. Undefined where it is hidden or has no dot. */
export function keyOf(raw: string): string | undefined {
  const base = raw.lastIndexOf("/") + 1;
  const dot = raw.indexOf(".", base);
  return dot <= base ? undefined : raw.slice(0, dot);
}

/** Whether a member's own name, without folders, begins with a dot: operating systems add such files to archives (`._a.jpg`). */
export function isHiddenMember(raw: string): boolean {
  return raw.startsWith(".", raw.lastIndexOf("/") + 1);
}

/**
 * The name of a member without the given extension: it is the key of an image, or its name up to the last dot. Undefined if the member has
 * another extension.
 * @param extension of the option --keep, without the first dot
 */
export function stemBefore(raw: string, extension: string): string | undefined {
  const stem = raw.slice(0, -extension.length - 1);
  const hasExtension = raw.slice(stem.length).toLowerCase() === `.${extension.toLowerCase()}`;
  return hasExtension && stem !== "" && !stem.endsWith("/") ? stem : undefined;
}

/** The stems of members that belong to an image, the closest first. */
export function stemsOf(image: string): string[] {
  const stem = image.slice(0, image.lastIndexOf("."));
  const key = keyOf(image)!;
  return stem === key ? [key] : [stem, key];
}
