import { isUtf8 } from "node:buffer";
import { LabelmillError } from "../../errors.ts";
import { MAX_TEXT_LENGTH } from "../../schemas/item.ts";
import { BrokenInput } from "../bytes/compressions.ts";
import { utf8Bytes } from "../bytes/utf8.ts";
import { binaryKind } from "../text/refuse-binary.ts";

/** A longer file has more UTF-16 units than a text may have: in UTF-8, a unit has at most 3 bytes. The 3 are the byte order mark. */
export const MAX_TEXT_FILE_BYTES = 3 * MAX_TEXT_LENGTH + 3;

/** A text, as an item has it. `repaired`: bytes that are not UTF-8 were replaced by U+FFFD. */
export type FileText = { text: string; repaired?: true };

/**
 * The text in a file: UTF-8, or UTF-16 with a byte order mark, also compressed.
 * @param shown the name of the file, for messages
 * @throws LabelmillError INPUT_UNREADABLE for a file of another kind, RECORD_TOO_LARGE
 */
export async function textOfFile(stored: Uint8Array, shown: string): Promise<FileText> {
  const bytes = await decoded(stored, shown);
  const kind = binaryKind(bytes) ?? (bytes.includes(0) ? NULS : undefined);
  if (kind) {
    const message = `${shown}: expected a file of text, got ${kind.found}: ${kind.fix}`;
    throw new LabelmillError("INPUT_UNREADABLE", message);
  }
  const text = bytes.toString();
  if (text.length > MAX_TEXT_LENGTH) throw textTooLarge(shown);
  return isUtf8(bytes) ? { text } : { text, repaired: true };
}

export function textTooLarge(shown: string): LabelmillError {
  return new LabelmillError("RECORD_TOO_LARGE", `${shown}: expected at most ${MAX_TEXT_LENGTH} UTF-16 units, got more`);
}

const NULS = { found: "NUL bytes, which text does not contain", fix: "convert it to UTF-8 (iconv)" };

/** Stops before the decompressed data becomes too large. */
async function decoded(stored: Uint8Array, shown: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of utf8Bytes(once(Buffer.from(stored.buffer, stored.byteOffset, stored.length)))) {
      pieces.push(piece);
      size += piece.length;
      if (size > MAX_TEXT_FILE_BYTES) throw textTooLarge(shown);
    }
  } catch (error) {
    if (!(error instanceof BrokenInput)) throw error;
    throw new LabelmillError("INPUT_UNREADABLE", `${shown}: ${error.message}`, { cause: error });
  }
  return Buffer.concat(pieces);
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}
