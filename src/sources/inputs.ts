import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError, systemCode } from "../errors.ts";
import type { S3 } from "../storage/s3.ts";
import { parseS3Uri, s3Uri } from "../storage/s3-uri.ts";
import { inputError } from "./bytes.ts";
import { dataRule } from "./data-name.ts";
import { formatOfName } from "./detect.ts";
import { type InputList, type ListEntry, listOf, openInputList } from "./input-list.ts";
import { byteOrder, globBase, isGlob, listFolder, listGlob } from "./listing.ts";
import { PassedOver } from "./passed-over.ts";
import { type S3Glob, s3Glob, s3Objects } from "./s3-glob.ts";
import { isPrefix, isS3Uri } from "./s3-origin.ts";
import { quoted, type Source } from "./source.ts";
import { isTarName } from "./tar-name.ts";

/** The most inputs of one run: each is described in the run's files. */
const MAX_INPUTS = 100_000;
/** Inputs that are opened at a time. */
const OPENED_AT_ONCE = 16;

/**
 * The inputs, each a file, an object or standard input, in the place of what names several of them:
 *
 * - a folder, a pattern (`data/**\/*.csv`), an `s3://` prefix or pattern: the files and objects there, in the byte order of their paths.
 *   Those that are no data (dataRule) and empty ones are passed over;
 * - `@LIST`: those that a list names, in its order (openInputList).
 *
 * Of images only patterns of archives and tables and lists of archives are replaced: folders, prefixes and lists of images are one input each.
 *
 * @param passedOver is told of all that is passed over
 * @throws LabelmillError INPUT_EMPTY (nothing there), INPUT_NOT_FOUND, INPUT_UNREADABLE (a list's line, which is named), STORE_FAILED (no such
 * bucket, forbidden, an outage), USAGE (more than 100,000 inputs)
 */
export async function expandInputs(
  inputs: readonly string[],
  s3: S3,
  kind: "text" | "images" = "text",
  passedOver = new PassedOver(),
): Promise<string[]> {
  const all: string[] = [];
  for (const input of inputs) {
    let some = 0;
    for await (const found of expand(input, s3, kind, passedOver)) {
      if (all.length >= MAX_INPUTS) {
        const message = `expected at most ${MAX_INPUTS} inputs, there are more with ${quoted(input)}; name fewer at a time`;
        throw new LabelmillError("USAGE", message);
      }
      all.push(found);
      some++;
    }
    if (some === 0) throw new LabelmillError("INPUT_EMPTY", `there is no data in ${quoted(input)}`);
  }
  return all;
}

/**
 * Opens the inputs side by side, 16 at a time. The sources come in the inputs' order; the error is that of the first input, in that
 * order, that cannot be opened, and nothing more is opened after one.
 */
export async function openInputs(
  inputs: readonly string[],
  open: (input: string) => Promise<Source>,
): Promise<Source[]> {
  const sources: Source[] = [];
  const failures: { at: number; error: unknown }[] = [];
  let next = 0;
  const opener = async (): Promise<void> => {
    while (next < inputs.length && failures.length === 0) {
      const at = next++;
      try {
        sources[at] = await open(inputs[at]!);
      } catch (error) {
        failures.push({ at, error });
      }
    }
  };
  await Promise.all(Array.from({ length: OPENED_AT_ONCE }, opener));
  const [first] = failures.sort((left, right) => left.at - right.at);
  if (first !== undefined) throw first.error;
  return sources;
}

async function* expand(input: string, s3: S3, kind: "text" | "images", passedOver: PassedOver): AsyncGenerator<string> {
  const list = listOf(input);
  const ofImages = kind === "images";
  if (list !== undefined) {
    const opened = await openInputList(list, s3);
    if (ofImages && !(await namesArchives(opened))) yield input;
    else for await (const entry of opened.entries(passedOver)) yield* inputOf(entry, ofImages, passedOver);
  } else if (input === "-" || (ofImages && !isOfFiles(input))) yield input;
  else if (isS3Uri(input)) yield* expandS3(input, s3, passedOver);
  else yield* expandLocal(input, passedOver);
}

/** Whether an argument of images means archives or tables, not images. */
function isOfFiles(input: string): boolean {
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(input) && !isS3Uri(input);
  return !isUrl && (isTarName(input) || formatOfName(input) !== "auto");
}

async function* expandS3(input: string, s3: S3, passedOver: PassedOver): AsyncGenerator<string> {
  const pattern = s3Glob(input);
  const at = pattern?.at ?? parseS3Uri(input);
  if (pattern === undefined && !isPrefix(at)) yield input;
  else for (const key of await dataKeys(pattern ?? { at }, s3, passedOver)) yield s3Uri({ bucket: at.bucket, key });
}

/** In byte order: not every server lists so. */
async function dataKeys(
  below: Pick<S3Glob, "at"> & Partial<S3Glob>,
  s3: S3,
  passedOver: PassedOver,
): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key, size, path } of s3Objects(below, s3)) {
    const why = dataRule(path) ?? (size === 0 ? "empty" : undefined);
    if (why === undefined) keys.push(key);
    else passedOver.add(why, s3Uri({ bucket: below.at.bucket, key }));
    // One more than can be taken: that there are too many is told by whoever counts.
    if (keys.length > MAX_INPUTS) break;
  }
  return byteOrder(keys);
}

async function* expandLocal(input: string, passedOver: PassedOver): AsyncGenerator<string> {
  const found = await stat(input).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw inputError(input, error);
  });
  // Whoever opens it says that it is not there.
  if (found ? !found.isDirectory() : !isGlob(input)) {
    yield input;
    return;
  }
  const base = found ? input : globBase(input);
  const passOver = passedOver.below((path) => join(base, path));
  const listed = found ? await listFolder(input, dataRule, passOver) : await listGlob(input, dataRule, passOver);
  for (const { path, size } of listed) {
    if (size > 0) yield join(base, path);
    else passOver("empty", path);
  }
}

/** Whether a list is one of archives: its first entry is. */
async function namesArchives(list: InputList): Promise<boolean> {
  for await (const { reference } of list.entries()) return isTarName(reference.shown);
  return false;
}

/** What a list's entry means as an input; nothing, where an inventory names what is none. */
function* inputOf(
  { reference, where, key }: ListEntry,
  ofArchives: boolean,
  passedOver: PassedOver,
): Generator<string> {
  const why =
    key === undefined ? undefined : (dataRule(key) ?? (ofArchives && !isTarName(key) ? "other-format" : undefined));
  if (why !== undefined) return passedOver.add(why, reference.shown);
  const unreadable = (why: string) => new LabelmillError("INPUT_UNREADABLE", `${where}: ${why}`);
  if ("error" in reference) throw unreadable(reference.error.message);
  const { image: uri, shown } = reference;
  if (!/^(file|s3):/.test(uri)) throw unreadable(`expected a path, a file: or an s3: URI, came ${quoted(shown)}`);
  yield uri.startsWith("file:") ? fileURLToPath(uri) : uri;
}
