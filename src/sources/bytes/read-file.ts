import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { type OpenFile, openRegular } from "../../regular-file.ts";
import type { ByteRange } from "../../storage/s3/pieces.ts";
import { quoted } from "../source.ts";
import { EmptyInput } from "./empty-input.ts";

const READ_BYTES = 256 * 1024;

/** @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE (a folder, a pipe, a device, no permission), INPUT_EMPTY */
export async function checkFile(path: string): Promise<void> {
  try {
    const found = await stat(path);
    if (!found.isFile()) {
      const kind = found.isDirectory() ? "a folder" : "a pipe, socket or device";
      throw new LabelmillError("INPUT_UNREADABLE", `expected a regular file, but ${quoted(path)} is ${kind}`);
    }
    if (found.size === 0) throw new EmptyInput(`${quoted(path)} is empty`, "empty");
    await access(path, constants.R_OK);
  } catch (error) {
    throw inputError(path, error);
  }
}

/** A file: its path, for messages and its identity, and a function that opens it. */
export type FilePlace = { path: string; open: OpenFile };

/** A file that the user of this process named. Links in its path are followed. */
export function namedFile(path: string): FilePlace {
  return { path, open: () => openRegular(path) };
}

/** All bytes of a file, or those from `start` to `end` (exclusive). @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE */
export async function* readFileBytes(
  { path, open }: FilePlace,
  range: ByteRange = { start: 0 },
): AsyncGenerator<Buffer> {
  const { start, end } = range;
  try {
    // The stream closes the file.
    const file = await open();
    yield* file.createReadStream({
      highWaterMark: READ_BYTES,
      start,
      ...(end === undefined ? {} : { end: end - 1 }),
    });
  } catch (error) {
    throw inputError(path, error);
  }
}

/** The bytes of standard input, which can be read only once. */
export async function* readStdinBytes(stdin: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stdin) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
  } catch (error) {
    throw inputError("standard input", error);
  }
}

/** A LabelmillError that names the input and says why it cannot be read. */
export function inputError(path: string, error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  const code = systemCode(error);
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new LabelmillError("INPUT_NOT_FOUND", `no such file or folder: ${quoted(path)}`, { cause: error });
  }
  return new LabelmillError("INPUT_UNREADABLE", `cannot read ${quoted(path)}: ${messageOf(error)}`, { cause: error });
}
