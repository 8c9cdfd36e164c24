import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import type { SourceRecord } from "../source.ts";
import type { Row } from "./row.ts";

/** Names of the text column to search for if the options name none, the best one first. */
export const TEXT_COLUMNS = ["text", "review", "sentence", "content", "comment", "body", "message"];

/** Makes the item of a row of a table of texts. */
export function textItem({ value }: Row & { value: string }): Partial<SourceRecord> {
  if (value.length > MAX_TEXT_LENGTH) {
    const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, got ${value.length}`;
    return { error: { code: "RECORD_TOO_LARGE", message } };
  }
  // Escapes in JSON can make unpaired surrogates, which UTF-8 cannot represent.
  return value.isWellFormed() ? { text: value } : { text: value.toWellFormed(), repaired: true };
}
