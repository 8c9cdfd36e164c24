import pLimit from "p-limit";
import { type ErrorCode, LabelmillError } from "../../errors.ts";
import type { Fetcher } from "../../fetch/fetcher.ts";
import { show } from "../../fetch/printable-url.ts";
import type { Item } from "../../schemas/item.ts";
import { MAX_TEXT_FILE_BYTES, textOfFile, textTooLarge } from "../../sources/item/text-file.ts";
import { toItemError } from "./item-error.ts";

/** Files that a slice fetches at a time. */
const FILES_AT_ONCE = 16;

/**
 * The items of a job, with the text of each file in the place of its reference, or with the error of its row.
 * @throws the errors that are not the fault of an item
 */
export async function loadTextFiles(items: readonly Item[], fetcher: Fetcher, signal: AbortSignal): Promise<Item[]> {
  const limit = pLimit(FILES_AT_ONCE);
  return limit.map(items, async (item) => {
    if (item.textFile === undefined) return item;
    const { textFile, ...rest } = item;
    try {
      return { ...rest, ...(await readText(textFile, item, fetcher, signal)) };
    } catch (error) {
      return { ...rest, error: toItemError(error) };
    }
  });
}

async function readText(textFile: string, { object }: Item, fetcher: Fetcher, signal: AbortSignal) {
  // Without a query, which may contain a signature.
  const shown = show(textFile.replace(/[?#].*$/s, "").replace(/\/\/[^/@]*@/, "//***@"));
  try {
    const expected = { what: "a text file", object, maxBytes: MAX_TEXT_FILE_BYTES };
    return await textOfFile(await fetcher.get(textFile, signal, expected), shown);
  } catch (error) {
    if (!(error instanceof LabelmillError)) throw error;
    if (error.code === "FETCH_TOO_LARGE") throw textTooLarge(shown);
    const code = TEXT_CODES[error.code];
    throw code ? new LabelmillError(code, error.message, { cause: error }) : error;
  }
}

/** The fetcher reports errors about images. These are the codes of the same errors about a text. */
const TEXT_CODES: Partial<Record<ErrorCode, ErrorCode>> = {
  IMAGE_NOT_FOUND: "INPUT_NOT_FOUND",
  IMAGE_INVALID: "INPUT_UNREADABLE",
};
