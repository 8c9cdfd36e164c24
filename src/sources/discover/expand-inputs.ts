import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError, systemCode } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { parseS3Uri, s3Uri } from "../../storage/s3/uri.ts";
import { inputError } from "../bytes/read-file.ts";
import { isPrefix, isS3Uri } from "../bytes/s3-origin.ts";
import { quoted } from "../source.ts";
import { isTarName } from "../tar/archive-name.ts";
import { formatOfName } from "../text/detect-format.ts";
import { ArchiveFiles } from "./archive-files.ts";
import { DataFiles, type Named } from "./data-files.ts";
import { type FolderContent, folderContent } from "./folder-content.ts";
import { type InputList, type ListEntry, listOf, openInputList } from "./input-list.ts";
import { ListGrants } from "./input-list-grants.ts";
import { byteOrder, globBase, isGlob, listFolder, listGlob } from "./local-listing.ts";
import { dataRule } from "./name-rules.ts";
import { PassedOver, type PassOver } from "./passed-over.ts";
import { s3Glob, s3Objects } from "./s3-listing.ts";

/** The most inputs of one run: the run's files describe each of them. */
const MAX_INPUTS = 100_000;

/** An input of a run. `path`: below the argument that covers it, with `/` between segments; omitted if the argument names it. */
export type ExpandedInput = { name: string; path?: string };

export type Expansion = {
  s3: S3;
  /** Default: text. */
  kind?: "text" | "images";
  /** The format of the options. Default: auto. */
  format?: ReadOptions["format"];
  /** Receives everything that is passed over. */
  passedOver?: PassedOver;
  /** Files and folders that a list on this machine may name in addition to those in its own folder. */
  fileRoots?: readonly string[];
};

/**
 * Replaces arguments that name several inputs by these inputs, each a file, an object or standard input:
 *
 * - a folder, a pattern (`data/**\/*.csv`), an `s3://` prefix or pattern: its files or objects, in the byte order of their paths;
 * - an S3 inventory (`@manifest.json`): its objects, in the order of the inventory;
 * - `@LIST`: the inputs that a list names, in the order of the list (openInputList).
 *
 * Files that are not data (dataRule, DataFiles) and empty files are passed over. For images, only patterns, folders and prefixes of archives or
 * tables, and lists of archives are replaced. A folder, prefix or list of images is one input.
 *
 * @throws LabelmillError INPUT_EMPTY (no input), INPUT_NOT_FOUND, INPUT_UNREADABLE (a line of a list, with its number), STORE_FAILED (unknown
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
    // An argument that covers nothing may be a mistake, so it is refused. Otherwise what was passed over is reported.
    if (all.length === before && (inputs.length === 1 || own.count === 0)) throw noData(quoted(input), own);
    passedOver.include(own.report);
  }
  if (all.length === 0) throw noData(`any of the ${inputs.length} inputs`, passedOver);
  return all;
}

function noData(place: string, { inWords }: PassedOver): LabelmillError {
  return new LabelmillError("INPUT_EMPTY", `there is no data in ${place}${inWords}`);
}

type Resolved = Required<Expansion>;

async function* expand(input: string, how: Resolved): AsyncGenerator<ExpandedInput> {
  const list = listOf(input);
  const ofImages = how.kind === "images";
  if (list !== undefined) yield* expandList(input, list, how);
  else if (input === "-") yield { name: input };
  else {
    const content = ofImages && !isOfFiles(input) ? await contentIn(input, how) : "files";
    if (content === undefined) yield { name: input };
    else if (isS3Uri(input)) yield* expandS3(input, content, how);
    else yield* expandLocal(input, content, how);
  }
}

/** Whether an argument for images names archives or tables. */
function isOfFiles(input: string): boolean {
  return !isUrl(input) && (isTarName(input) || formatOfName(input) !== "auto");
}

/** The content of a folder or prefix for images. */
async function contentIn(input: string, { format, s3 }: Resolved): Promise<FolderContent | undefined> {
  return isUrl(input) ? undefined : await folderContent(input, format, s3);
}

function collector(content: FolderContent | "files", named: Named, passOver: PassOver): DataFiles | ArchiveFiles {
  return content === "archives" ? new ArchiveFiles(passOver) : new DataFiles(named, passOver);
}

function isUrl(input: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(input) && !isS3Uri(input);
}

async function* expandS3(
  input: string,
  content: FolderContent | "files",
  { s3, format, passedOver }: Resolved,
): AsyncGenerator<ExpandedInput> {
  const pattern = s3Glob(input);
  const at = pattern?.at ?? parseS3Uri(input);
  if (pattern === undefined && !isPrefix(at)) {
    yield { name: input };
    return;
  }
  const named = { argument: input, format, isPattern: pattern !== undefined };
  const data = collector(content, named, (reason, uri) => passedOver.add(reason, uri));
  for await (const { key, size, path } of s3Objects(pattern ?? { at }, s3)) {
    data.add(s3Uri({ bucket: at.bucket, key }), path, size);
    if (data.count > MAX_INPUTS) throw tooMany(input);
  }
  // Some servers list in another order.
  const files = new Map(data.take().map((file) => [file.path, file]));
  for (const path of byteOrder([...files.keys()])) yield files.get(path)!;
}

async function* expandLocal(
  input: string,
  content: FolderContent | "files",
  { format, passedOver }: Resolved,
): AsyncGenerator<ExpandedInput> {
  const found = await stat(input).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw inputError(input, error);
  });
  // A missing file is reported when it is opened.
  if (found ? !found.isDirectory() : !isGlob(input)) {
    yield { name: input };
    return;
  }
  const base = found ? input : globBase(input);
  const passOver = passedOver.below((path) => join(base, path));
  const listed = found ? await listFolder(input, dataRule, passOver) : await listGlob(input, dataRule, passOver);
  const named = { argument: input, format, isPattern: found === undefined };
  const data = collector(content, named, (reason, name) => passedOver.add(reason, name));
  for (const { path, size } of listed) {
    if (path.includes("\uFFFD") && size === 0) passOver("name-not-utf8", path);
    else data.add(join(base, path), path, size);
  }
  yield* data.take();
}

/** A list names the inputs themselves. An inventory names all objects, as a prefix does. */
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

/** Whether a list names archives, by its first entry. */
async function namesArchives(list: InputList): Promise<boolean> {
  for await (const { reference } of list.entries()) return isTarName(reference.shown);
  return false;
}

/** The input that an entry of a list names. @param grants files of this machine that the list may name */
async function inputOf({ reference, where, key }: ListEntry, grants: ListGrants): Promise<Required<ExpandedInput>> {
  const unreadable = (why: string) => new LabelmillError("INPUT_UNREADABLE", `${where}: ${why}`);
  if ("error" in reference) throw unreadable(reference.error.message);
  const { image: uri, shown } = reference;
  if (!/^(file|s3):/.test(uri)) throw unreadable(`expected a path, a file: or an s3: URI, got ${quoted(shown)}`);
  const path = key ?? shown.replace(/^(?:\.\/+)+/, "");
  if (!uri.startsWith("file:")) return { name: uri, path };
  if (!(await grants.has(uri))) {
    const fix = "grant its folder with --file-roots (LABELMILL_FILE_ROOTS), or move it to the folder of the list";
    throw unreadable(`expected a file in the folder of the list, got ${quoted(shown)}; ${fix}`);
  }
  return { name: fileURLToPath(uri), path };
}

function tooMany(input: string): LabelmillError {
  const message = `expected at most ${MAX_INPUTS} inputs, got more with ${quoted(input)}; name fewer at a time`;
  return new LabelmillError("USAGE", message);
}
