import type { PassedOverReason } from "../../schemas/input.ts";
import { isDecodableName, isImageName } from "../item/image-formats.ts";
import { formatOfName } from "../text/detect-format.ts";

/** Why a file or object, by its path below what was named, is passed over; undefined where it is taken. */
export type NameRule = (path: string) => PassedOverReason | undefined;

/** What lies beside data and describes it: texts about it, and what the library `datasets` notes of a data set or keeps of its own work on it. */
const NO_DATA =
  /^(?:(?:readme|licen[cs]e|copying|notice|changelog|authors|contributing|citation)(?:\.(?:txt|text|md|rst))?|dataset_(?:info|infos|dict)\.json|state\.json|(?:cache|indices)-[0-9a-f]+[^/]*\.arrow)$/i;

/**
 * Of texts: what is hidden (a segment begins with `_` or `.`), folder markers, images, and what only describes data. Files of an extension that
 * is not known pass: whether they are taken depends on what was named (takeData).
 */
export const dataRule: NameRule = (path) => {
  if (path === "" || path.endsWith("/")) return "folder-marker";
  if (path.split("/").some((part) => /^[_.]/.test(part))) return "hidden";
  if (isImageName(path)) return "image-among-texts";
  return NO_DATA.test(path.slice(path.lastIndexOf("/") + 1)) ? "not-data" : undefined;
};

/** Of images: what is hidden (a segment begins with `.`), folder markers, and all that is by its name no image that can be decoded here. */
export const imageRule: NameRule = (path) => {
  if (path === "" || path.endsWith("/")) return "folder-marker";
  if (path.split("/").some((part) => part.startsWith("."))) return "hidden";
  if (isDecodableName(path)) return undefined;
  return isImageName(path) ? "image-not-decodable" : "not-an-image";
};

/** The format that a file's name says; undefined where it says none. */
export function dataFormatOf(path: string): string | undefined {
  const format = formatOfName(path);
  return format === "auto" ? undefined : format;
}
