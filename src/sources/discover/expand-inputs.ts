import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import pLimit from "p-limit";
import { LabelmillError, systemCode } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri, s3Uri } from "../../storage/s3/uri.ts";
import { EmptyInput } from "../bytes/empty-input.ts";
import { inputError } from "../bytes/read.ts";
import { isPrefix, isS3Uri } from "../bytes/s3-origin.ts";
import { quoted, type Source } from "../source.ts";
import { isTarName } from "../tar/archive-name.ts";
import { formatOfName } from "../text/detect-format.ts";
import { ArchiveFiles } from "./archive-files.ts";
import { DataFiles, type Named } from "./data-files.ts";
import { type Held, heldBy } from "./folder-content.ts";
import { type InputList, type ListEntry, listOf, openInputList } from "./input-list.ts";
import { ListGrants } from "./input-list-grants.ts";
import { byteOrder, globBase, isGlob, listFolder, listGlob } from "./local-listing.ts";
import { dataRule } from "./name-rules.ts";
import { PassedOver, type PassOver } from "./passed-over.ts";
import { s3Glob, s3Objects } from "./s3-listing.ts";

/** The most inputs of one run: each is described in the run's files. */
const MAX_INPUTS = 100_000;
/** Inputs that are opened at a time. */
const OPENED_AT_ONCE = 16;

/** An input of a run. `path`: below the argument by which it was found, with `/` between its segments; none where it was named itself. */
export type ExpandedInput = { name: string; path?: string };

export type Expansion = {
  s3: S3;
  /** By default texts. */
  kind?: "text" | "images";
  /** As it was told. */
  format?: ReadOptions["format"];
  /** Is told of all that is passed over. */
  passedOver?: PassedOver;
  /** Files and folders that a list on this machine may name, besides what lies beside it. */
  fileRoots?: readonly string[];
};

/**
 * The inputs, each a file, an object or standard input, in the place of what names several of them:
 *
 * - a folder, a pattern (`data/**\/*.csv`), an `s3://` prefix or pattern, an S3 inventory (`@manifest.json`): the files and objects there, of the
 *   first three in the byte order of their paths. Those that are no data (dataRule, DataFiles) and empty ones are passed over;
 * - `@LIST`: those that a list names, in its order (openInputList).
 *
 * Of images only patterns, folders and prefixes of archives and tables and lists of archives are replaced: folders, prefixes and lists of images
 * are one input each.
 *
 * @throws LabelmillError INPUT_EMPTY (nothing there), INPUT_NOT_FOUND, INPUT_UNREADABLE (a list's line, which is named), STORE_FAILED (no such
 * bucket, forbidden, an outage), USAGE (more than 100,000 inputs, files of several formats)
 */
export async function expandInputs(inputs: readonly string[], expansion: Expansion): Promise<ExpandedInput[]> {
  const { kind = "text", format = "auto", fileRoots = [], passedOver = new PassedOver(), s3 } = expansion;
  const all: ExpandedInput[] = [];
  for (const input of inputs) {
    const own = new PassedOver();
    const before = all.length;
    for await (const found of expand(input, { kind, format, fileRoots, passedOver: own, s3 })) {
      if (all.length >= MAX_INPUTS) throw tooMany(input);
      all.push(found);
    }
    // An argument that covers nothing at all may be a mistake; of any other it is told what was passed over.
    if (all.length === before && (inputs.length === 1 || own.count === 0)) throw noData(quoted(input), own);
    passedOver.include(own.report);
  }
  if (all.length === 0) throw noData(`any of the ${inputs.length} inputs`, passedOver);
  return all;
}

function noData(place: string, { inWords }: PassedOver): LabelmillError {
  return new LabelmillError("INPUT_EMPTY", `there is no data in ${place}${inWords}`);
}

/**
 * Opens the inputs side by side, 16 at a time. The sources come in the inputs' order; the error is that of the first input, in that
 * order, that cannot be opened, and nothing more is opened after one.
 */
export async function openInputs<T, S = Source>(inputs: readonly T[], open: (input: T) => Promise<S>): Promise<S[]> {
  const limit = pLimit({ concurrency: OPENED_AT_ONCE, rejectOnClear: true });
  const opening = inputs.map((input) =>
    limit(async () => {
      try {
        return await open(input);
      } catch (error) {
        limit.clearQueue();
        throw error;
      }
    }),
  );
  // Inputs are started in order, so those that were cleared from the queue come after the one that failed.
  const opened = await Promise.allSettled(opening);
  return opened.map((each) => {
    if (each.status === "rejected") throw each.reason;
    return each.value;
  });
}

type Resolved = Required<Expansion>;

async function* expand(input: string, how: Resolved): AsyncGenerator<ExpandedInput> {
  const list = listOf(input);
  const ofImages = how.kind === "images";
  if (list !== undefined) yield* expandList(input, list, how);
  else if (input === "-") yield { name: input };
  else {
    const held = ofImages && !isOfFiles(input) ? await heldIn(input, how) : "files";
    if (held === undefined) yield { name: input };
    else if (isS3Uri(input)) yield* expandS3(input, held, how);
    else yield* expandLocal(input, held, how);
  }
}

/** Whether an argument of images means archives or tables, not images. */
function isOfFiles(input: string): boolean {
  return !isUrl(input) && (isTarName(input) || formatOfName(input) !== "auto");
}

/** What a folder or prefix holds in which images lie. */
async function heldIn(input: string, { format, s3 }: Resolved): Promise<Held | undefined> {
  return isUrl(input) ? undefined : await heldBy(input, format, s3);
}

function collector(held: Held | "files", named: Named, passOver: PassOver): DataFiles | ArchiveFiles {
  return held === "archives" ? new ArchiveFiles(passOver) : new DataFiles(named, passOver);
}

function isUrl(input: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(input) && !isS3Uri(input);
}

async function* expandS3(
  input: string,
  held: Held | "files",
  { s3, format, passedOver }: Resolved,
): AsyncGenerator<ExpandedInput> {
  const pattern = s3Glob(input);
  const at = pattern?.at ?? parseS3Uri(input);
  if (pattern === undefined && !isPrefix(at)) {
    yield { name: input };
    return;
  }
  const named = { argument: input, format, isPattern: pattern !== undefined };
  const data = collector(held, named, (reason, uri) => passedOver.add(reason, uri));
  for await (const { key, size, path } of s3Objects(pattern ?? { at }, s3)) {
    data.add(s3Uri({ bucket: at.bucket, key }), path, size);
    if (data.count > MAX_INPUTS) throw tooMany(input);
  }
  // Not every server lists in that order.
  const files = new Map(data.take().map((file) => [file.path, file]));
  for (const path of byteOrder([...files.keys()])) yield files.get(path)!;
}

async function* expandLocal(
  input: string,
  held: Held | "files",
  { format, passedOver }: Resolved,
): AsyncGenerator<ExpandedInput> {
  const found = await stat(input).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw inputError(input, error);
  });
  // Whoever opens it says that it is not there.
  if (found ? !found.isDirectory() : !isGlob(input)) {
    yield { name: input };
    return;
  }
  const base = found ? input : globBase(input);
  const passOver = passedOver.below((path) => join(base, path));
  const listed = found ? await listFolder(input, dataRule, passOver) : await listGlob(input, dataRule, passOver);
  const named = { argument: input, format, isPattern: found === undefined };
  const data = collector(held, named, (reason, name) => passedOver.add(reason, name));
  for (const { path, size } of listed) {
    if (path.includes("\uFFFD") && size === 0) passOver("name-not-utf8", path);
    else data.add(join(base, path), path, size);
  }
  yield* data.take();
}

/** A list names its files itself; an inventory names all that there is, as a prefix does. */
async function* expandList(
  argument: string,
  at: string,
  { kind, format, fileRoots, passedOver, s3 }: Resolved,
): AsyncGenerator<ExpandedInput> {
  const list = await openInputList(at, s3);
  const ofImages = kind === "images";
  if (ofImages && !(await namesArchives(list))) {
    yield { name: argument };
    return;
  }
  const passOver = passedOver.below((uri) => uri);
  const data = collector(ofImages ? "archives" : "files", { argument, format, isPattern: false }, passOver);
  const grants = new ListGrants(isS3Uri(at) ? [] : [dirname(at), ...fileRoots]);
  for await (const entry of list.entries(passedOver)) {
    const { name, path } = await inputOf(entry, grants);
    if (list.isInventory) data.add(name, path);
    else yield { name, path };
    if (data.count > MAX_INPUTS) throw tooMany(argument);
  }
  yield* data.take();
}

/** Whether a list is one of archives: its first entry is. */
async function namesArchives(list: InputList): Promise<boolean> {
  for await (const { reference } of list.entries()) return isTarName(reference.shown);
  return false;
}

/**
 * As openInputs, without the inputs that hold no record: those are passed over.
 * @throws LabelmillError INPUT_EMPTY where all of them are
 */
export async function openFullInputs<S>(
  inputs: readonly ExpandedInput[],
  open: (input: ExpandedInput) => Promise<S>,
  passedOver: PassedOver,
): Promise<S[]> {
  const all = await openInputs(inputs, async (input): Promise<{ source: S } | { empty: EmptyInput }> => {
    try {
      return { source: await open(input) };
    } catch (error) {
      if (error instanceof EmptyInput) return { empty: error };
      throw error;
    }
  });
  const empty = new Map(all.flatMap((each, at) => ("empty" in each ? [[inputs[at]!.name, each.empty] as const] : [])));
  for (const [name, { reason }] of empty) passedOver.add(reason, name);
  const sources = all.flatMap((each) => ("source" in each ? [each.source] : []));
  const [first] = empty.values();
  if (sources.length > 0 || first === undefined) return sources;
  if (empty.size === 1) throw first;
  throw new LabelmillError(
    "INPUT_EMPTY",
    `none of the ${empty.size} inputs has a record; of the first: ${first.message}`,
  );
}

/** What a list's entry means as an input. @param grants what a list may name on this machine */
async function inputOf({ reference, where, key }: ListEntry, grants: ListGrants): Promise<Required<ExpandedInput>> {
  const unreadable = (why: string) => new LabelmillError("INPUT_UNREADABLE", `${where}: ${why}`);
  if ("error" in reference) throw unreadable(reference.error.message);
  const { image: uri, shown } = reference;
  if (!/^(file|s3):/.test(uri)) throw unreadable(`expected a path, a file: or an s3: URI, came ${quoted(shown)}`);
  const path = key ?? shown.replace(/^(?:\.\/+)+/, "");
  if (!uri.startsWith("file:")) return { name: uri, path };
  if (!(await grants.has(uri))) {
    const fix = "grant its folder with --file-roots (LABELMILL_FILE_ROOTS), or put it beside the list";
    throw unreadable(`expected a file beside the list, got ${quoted(shown)}, which lies elsewhere; ${fix}`);
  }
  return { name: fileURLToPath(uri), path };
}

function tooMany(input: string): LabelmillError {
  const message = `expected at most ${MAX_INPUTS} inputs, there are more with ${quoted(input)}; name fewer at a time`;
  return new LabelmillError("USAGE", message);
}
