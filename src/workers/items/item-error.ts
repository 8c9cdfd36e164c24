import { LabelmillError, messageOf } from "../../errors.ts";
import type { ItemError } from "../../schemas/item.ts";

/** Codes of errors that are not the fault of an item. */
const NOT_OF_AN_ITEM = ["ABORTED", "INFERENCE_FAILED", "INTERNAL", "STORE_FAILED"];

/** Turns an error about one item into the error of its row. Throws an error that is not the fault of the item. */
export function toItemError(error: unknown): ItemError {
  if (!(error instanceof LabelmillError)) throw error;
  if (NOT_OF_AN_ITEM.includes(error.code)) throw error;
  const message = messageOf(error).slice(0, 4096);
  return { code: error.code, message, ...(error.retryable ? { retryable: true as const } : {}) };
}
