import { isUtf8 } from "node:buffer";

/**
 * A member's name is compared by its bytes, each held as one character (latin1). What is shown of it is UTF-8, as it is; where it is not that, each
 * byte that is not is written `\xE9`, and a backslash twice, as in names that hold such a thing themselves: two names are never shown alike.
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

/** Whether a member's name, not its folders', begins with a dot: the system's own files in an archive are named so (`._a.jpg`). */
export function isHiddenMember(raw: string): boolean {
  return raw.startsWith(".", raw.lastIndexOf("/") + 1);
}

/**
 * What stands before the extension in the name of a member that lies beside an image: the image's key, or its name up to its last dot. Undefined
 * where the member has another extension.
 * @param extension as it was asked for, without the first dot
 */
export function stemBefore(raw: string, extension: string): string | undefined {
  const stem = raw.slice(0, -extension.length - 1);
  const isIt = raw.slice(stem.length).toLowerCase() === `.${extension.toLowerCase()}`;
  return isIt && stem !== "" && !stem.endsWith("/") ? stem : undefined;
}

/** The stems by which what lies beside an image is found, the closest first. */
export function stemsOf(image: string): string[] {
  const stem = image.slice(0, image.lastIndexOf("."));
  const key = keyOf(image)!;
  return stem === key ? [key] : [stem, key];
}
