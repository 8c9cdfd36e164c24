import { MAX_ID_LENGTH, type SourceRecord } from "../source.ts";
import { boundedId } from "./bounded-id.ts";
import { type Base, type Reference, readReference } from "./image-reference.ts";
import type { ToItem } from "./record.ts";
import { invalid } from "./row.ts";

/** What an image column may be called where none is told, the best name first. */
export const IMAGE_COLUMNS = ["image", "url", "path", "file", "image_url", "uri"];

/** What a row of a list of images becomes. */
export function imageItem(base: Base): ToItem {
  return ({ value, id, input: kept, repaired }) => {
    // Bytes that are no text would give an id and a path of U+FFFD, and others the same.
    if (repaired && value.includes("\ufffd")) return invalid("expected an image's path or URL in UTF-8");
    const reference = readReference(value, base);
    const item = referenceItem(reference, kept);
    // The reference names the record where no id column does.
    if (!id && reference.shown !== "") item.id = imageId(reference);
    return item;
  };
}

/** What a row becomes whose column holds images themselves, or references where it has no bytes. No id is made from either. */
export function pictureItem(base: Base): ToItem {
  return ({ value, data, input: kept }) => {
    if (data === undefined) return referenceItem(readReference(value, base), kept);
    const name = value.slice(0, MAX_ID_LENGTH).toWellFormed();
    return name === "" ? { data } : { data, input: { ...kept, image: name } };
  };
}

export function imageId({ shown }: Reference, idName?: string): string {
  return boundedId(idName === undefined ? shown : `${idName}#${shown}`);
}

export function referenceItem(reference: Reference, kept?: Record<string, unknown>): Partial<SourceRecord> {
  const input = { ...kept, image: reference.shown };
  return "error" in reference ? { input, error: reference.error } : { input, image: reference.image };
}
