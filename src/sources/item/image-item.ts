import { MAX_ID_LENGTH, type SourceRecord } from "../source.ts";
import { boundedId } from "./bounded-id.ts";
import { type Base, type Reference, readReference } from "./image-reference.ts";
import type { ToItem } from "./record.ts";
import { invalid } from "./row.ts";

/** Names of the image column to search for if the options name none, the best one first. */
export const IMAGE_COLUMNS = ["image", "url", "path", "file", "image_url", "uri"];

/** Makes the item of a row of a list of images. */
export function imageItem(base: Base): ToItem {
  return ({ value, id, input: kept, repaired }) => {
    // Invalid UTF-8 would become U+FFFD in the id and the path, so that different references would look the same.
    if (repaired && value.includes("\ufffd")) return invalid("expected an image's path or URL in UTF-8");
    const reference = readReference(value, base);
    const item = referenceItem(reference, kept);
    // If the row has no id, the reference becomes its id.
    if (!id && reference.shown !== "") item.id = imageId(reference);
    return item;
  };
}

/** Makes the item of a row whose column contains the image itself, or a reference if it has no bytes. The id does not derive from it. */
export function embeddedImageItem(base: Base): ToItem {
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
