import { basename } from "node:path";
import type { Readable } from "node:stream";
import type { Input } from "../../schemas/input.ts";
import { quoted } from "../source.ts";
import { checkUnchanged, describeFile, describeUrl } from "./input-identity.ts";
import type { Origin } from "./origin.ts";
import { checkFile, type FilePlace, inputError, namedFile, readFileBytes, readStdinBytes } from "./read-file.ts";

/** @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE or INPUT_EMPTY if the file does not exist, cannot be read or is empty */
export async function fileOrigin(path: string): Promise<Origin> {
  await checkFile(path);
  const place = namedFile(path);
  return fileAsPlanned(
    place,
    await describeFile(place).catch((error: unknown) => Promise.reject(inputError(path, error))),
  );
}

/** A file that was described as `input` when the run was planned. */
export function fileAsPlanned(place: FilePlace, input: Input): Origin {
  return {
    name: basename(place.path),
    label: quoted(place.path),
    input,
    bytes: (range) => readFileBytes(place, range),
    once: false,
    checkUnchanged: () => checkUnchanged(input, () => describeFile(place)),
  };
}

export function stdinOrigin(stdin: Readable): Origin {
  return {
    name: "stdin",
    label: "standard input",
    input: describeUrl("stdin:"),
    bytes: () => readStdinBytes(stdin),
    once: true,
    checkUnchanged: async () => {},
  };
}
