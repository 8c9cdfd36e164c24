import { dirname, resolve } from "node:path";
import { LabelmillError } from "../../errors.ts";
import { parseS3Reference } from "../../fetch/s3-grants.ts";
import type { Input } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { s3Uri } from "../../storage/s3/uri.ts";
import { BrokenInput } from "../bytes/compressions.ts";
import { openOrigin } from "../bytes/open.ts";
import type { Origin } from "../bytes/origin.ts";
import { isS3Uri } from "../bytes/s3-origin.ts";
import { utf8Bytes } from "../bytes/utf8.ts";
import {
  type Base,
  belowPrefix,
  inFolder,
  objectReference,
  type Reference,
  readReference,
} from "../item/image-reference.ts";
import { extensionOf } from "../text/detect-format.ts";
import { type Line, LineScanner } from "../text/line-scanner.ts";
import { inventoryFile, inventoryObjects } from "./inventory.ts";
import { PassedOver } from "./passed-over.ts";

/** An entry of a list. `where`: its place in the list, for messages. `key`: only in an inventory, the key of the object. */
export type ListEntry = { reference: Reference; where: string; key?: string };

/** A list of inputs, whose entries can be read repeatedly. `isInventory`: it names all objects of a bucket, not only inputs. */
export type InputList = {
  input: Input;
  label: string;
  isInventory: boolean;
  /** @param passedOver receives the entries of an inventory that have no content */
  entries(passedOver?: PassedOver): AsyncGenerator<ListEntry>;
};

/** The list that an argument `@LIST` names. Undefined for any other argument. */
export function listOf(argument: string): string | undefined {
  return argument.startsWith("@") && argument.length > 1 ? argument.slice(1) : undefined;
}

/**
 * Opens a list of inputs, a file or S3 object: the `manifest.json` or a CSV file (`.csv`, `.csv.gz`) of an S3 inventory, or one path or URI per
 * line. Paths are relative to the list. Blank lines and lines that begin with `#` are skipped.
 * @param granted rejects if a data file of an inventory may not be opened
 * @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE (with the line), INPUT_EMPTY, STORE_FAILED
 */
export async function openInputList(
  list: string,
  s3: S3 | undefined,
  granted?: (uri: string) => Promise<void>,
): Promise<InputList> {
  const origin = await openOrigin(list, s3);
  const { input, label } = origin;
  const extension = extensionOf(origin.name);
  const entries = async function* (passedOver = new PassedOver()): AsyncGenerator<ListEntry> {
    const passOver = passedOver.below((uri) => uri);
    try {
      if (extension === "json") yield* named(inventoryObjects(origin, s3, passOver, granted));
      else if (extension === "csv") yield* named(inventoryFile(origin, passOver));
      else yield* lines(origin, baseOf(list));
      await origin.checkUnchanged();
    } catch (error) {
      if (!(error instanceof BrokenInput)) throw error;
      throw new LabelmillError("INPUT_UNREADABLE", `${label}: ${error.message}`, { cause: error });
    }
  };
  return { input, label, isInventory: extension === "json" || extension === "csv", entries };
}

async function* named(objects: ReturnType<typeof inventoryObjects>): AsyncGenerator<ListEntry> {
  for await (const { bucket, key, where } of objects) {
    yield { reference: objectReference(key, s3Uri({ bucket, key })), where, key };
  }
}

async function* lines(origin: Origin, base: Base): AsyncGenerator<ListEntry> {
  const scanner = new LineScanner({ skipBlank: true });
  function* taken(found: Iterable<Line>): Generator<ListEntry> {
    for (const line of found) {
      if ("text" in line && line.text.trimStart().startsWith("#")) continue;
      yield { reference: referenceOf(line, base), where: `${origin.label}, line ${line.line}` };
    }
  }
  for await (const chunk of utf8Bytes(origin.bytes())) yield* taken(scanner.push(chunk));
  yield* taken(scanner.end());
}

function referenceOf(line: Line, base: Base): Reference {
  if ("error" in line) return { shown: `line ${line.line}`, error: line.error };
  if (!line.repaired) return readReference(line.text, base);
  return { shown: `line ${line.line}`, error: { code: "RECORD_INVALID", message: "expected a path or URL in UTF-8" } };
}

function baseOf(list: string): Base {
  if (!isS3Uri(list)) return inFolder(dirname(resolve(list)));
  const { bucket, key } = parseS3Reference(list);
  return belowPrefix({ bucket, key: key.slice(0, key.lastIndexOf("/") + 1) });
}
