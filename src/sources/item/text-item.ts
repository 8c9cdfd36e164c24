import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import type { SourceRecord } from "../source.ts";
import type { Row } from "./row.ts";

/** What a text column may be called where none is told, the best name first. */
export const TEXT_COLUMNS = ["text", "review", "sentence", "content", "comment", "body", "message"];

/** What a row of a table of texts becomes. */
export function textItem({ value }: Row & { value: string }): Partial<SourceRecord> {
  if (value.length > MAX_TEXT_LENGTH) {
    const message = `expected a text of at most ${MAX_TEXT_LENGTH} UTF-16 units, came ${value.length}`;
    return { error: { code: "RECORD_TOO_LARGE", message } };
  }
  // Escapes in JSON can make halves of characters, which no UTF-8 can carry.
  return value.isWellFormed() ? { text: value } : { text: value.toWellFormed(), repaired: true };
}
