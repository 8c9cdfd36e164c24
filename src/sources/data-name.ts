import type { PassedOverReason } from "../schemas/passed-over.ts";
import { isImageName } from "./image-file.ts";

/** Why a file or object, by its path below what was named, is passed over; undefined where it is taken. */
export type NameRule = (path: string) => PassedOverReason | undefined;

/** Of texts: what is hidden (a segment begins with `_` or `.`), folder markers, images. */
export const dataRule: NameRule = (path) => {
  if (path === "" || path.endsWith("/")) return "folder-marker";
  if (path.split("/").some((part) => /^[_.]/.test(part))) return "hidden";
  return isImageName(path) ? "image-among-texts" : undefined;
};

/** Of images: what is hidden (a segment begins with `.`), folder markers, and all that is no image by its name. */
export const imageRule: NameRule = (path) => {
  if (path === "" || path.endsWith("/")) return "folder-marker";
  if (path.split("/").some((part) => part.startsWith("."))) return "hidden";
  return isImageName(path) ? undefined : "not-an-image";
};
