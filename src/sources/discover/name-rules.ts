import type { PassedOverReason } from "../../schemas/input.ts";
import { isDecodableName, isImageName } from "../item/image-formats.ts";
import { formatOfName } from "../text/detect-format.ts";

/** The reason to pass over a file or object, by its path below the argument. Undefined: it is taken. */
export type NameRule = (path: string) => PassedOverReason | undefined;

/** Names of files that describe data: texts about it, and the metadata and caches of the library `datasets`. */
const NOT_DATA =
  /^(?:(?:readme|licen[cs]e|copying|notice|changelog|authors|contributing|citation)(?:\.(?:txt|text|md|rst))?|dataset_(?:info|infos|dict)\.json|state\.json|(?:cache|indices)-[0-9a-f]+[^/]*\.arrow)$/i;

/**
 * The rule for texts. It passes over hidden paths (a segment begins with `_` or `.`), folder markers, images, and files that describe
 * data. Files with an unknown extension are left to DataFiles.
 */
export const dataRule: NameRule = (path) => {
  if (path === "" || path.endsWith("/")) return "folder-marker";
  if (path.split("/").some((part) => /^[_.]/.test(part))) return "hidden";
  if (isImageName(path)) return "image-among-texts";
  return NOT_DATA.test(path.slice(path.lastIndexOf("/") + 1)) ? "not-data" : undefined;
};

/** The rule for images. It passes over hidden paths (a segment begins with `.`), folder markers, and names that are not of decodable images. */
export const imageRule: NameRule = (path) => {
  if (path === "" || path.endsWith("/")) return "folder-marker";
  if (path.split("/").some((part) => part.startsWith("."))) return "hidden";
  if (isDecodableName(path)) return undefined;
  return isImageName(path) ? "image-not-decodable" : "not-an-image";
};

/** The format by a file's name. Undefined if the extension is unknown. */
export function dataFormatOf(path: string): string | undefined {
  const format = formatOfName(path);
  return format === "auto" ? undefined : format;
}
