import { open, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Readable } from "node:stream";
import { pathToFileURL } from "node:url";
import { LabelmillError, systemCode } from "../errors.ts";
import type { Input, ReadOptions } from "../schemas/run.ts";
import { checkFile, inputError } from "./bytes.ts";
import { formatOfName } from "./detect.ts";
import { describeFile, describeFolder, describeUrl, type ListedFile, unchanged } from "./identity.ts";
import { globBase, isGlob, isImageName, listFolder, listGlob } from "./listing.ts";
import { fileReference, type Reference, readReference } from "./references.ts";
import { MAX_ID_LENGTH, quoted, type Source, type SourceRecord } from "./source.ts";
import { fileOrigin, type Origin, openTable, stdinOrigin } from "./table.ts";

/** What an image column may be called where none is told, the best name first. */
const IMAGE_COLUMNS = ["image", "url", "path", "file", "image_url", "uri"];

type Kind = "url" | "folder" | "glob" | "image" | "list";

/**
 * Opens images: a file, a folder, a pattern, a URL, or a list of paths and URLs (a file, or standard input). Fails before anything
 * is queued, with INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, COLUMN_NOT_FOUND, URL_REFUSED or USAGE.
 */
export async function openImageSource(from: string | { stdin: Readable }, read: ReadOptions): Promise<Source> {
  if (typeof from !== "string") return openList(stdinOrigin(from.stdin), process.cwd(), describeUrl("stdin:"), read);
  const path = resolve(from);
  switch (await kindOf(from)) {
    case "url":
      return openUrl(from, read);
    case "image":
      await checkFile(from);
      return listed(await describeFile(from), read, () => [fileReference(from, path)]);
    case "folder": {
      const files = await listFolder(path);
      if (files.length === 0) throw new LabelmillError("INPUT_EMPTY", `there are no images in ${quoted(from)}`);
      const uri = pathToFileURL(await realpath(path)).href;
      return listed(describeFolder(uri, files), read, () => references(path, files));
    }
    case "glob": {
      const files = await listGlob(from);
      if (files.length === 0) throw new LabelmillError("INPUT_NOT_FOUND", `no image matches ${quoted(from)}`);
      return listed(describeFolder(pathToFileURL(path).href, files), read, () => references(globBase(from), files));
    }
    case "list": {
      const origin = await fileOrigin(from);
      if (read.format === "auto" && formatOfName(from) === "auto") {
        const expected = "expected an image, a folder or a list (.txt, .lst, .csv, .tsv, .jsonl)";
        throw new LabelmillError(
          "INPUT_UNREADABLE",
          `${expected}, came ${quoted(from)}; if it is a list, say --format`,
        );
      }
      const source = await openList(origin, dirname(path), await describeFile(from), read);
      return { ...source, records: () => unchanged(source.records(), source.input, () => describeFile(from)) };
    }
  }
}

/**
 * The files and folders (real paths) that an argument makes readable: an image itself, a folder, a pattern's base folder, a list's
 * own folder; for `-`, a list on standard input, the working folder; for a URL none. Fails where the argument names nothing.
 */
export async function grantsOf(from: string): Promise<string[]> {
  if (from === "-") return [await realpath(process.cwd())];
  switch (await kindOf(from)) {
    case "url":
      return [];
    case "glob":
      return [await realpath(globBase(from)).catch((error: unknown) => Promise.reject(inputError(from, error)))];
    case "list":
      return [await realpath(dirname(resolve(from)))];
    default:
      return [await realpath(from)];
  }
}

/** What an argument is; a file that is no image is taken for a list. */
async function kindOf(from: string): Promise<Kind> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(from)) return "url";
  try {
    const found = await stat(from);
    if (found.isDirectory()) return "folder";
    return found.isFile() && (isImageName(from) || (await hasImageMagic(from))) ? "image" : "list";
  } catch (error) {
    if (systemCode(error) === "ENOENT" && isGlob(from)) return "glob";
    throw inputError(from, error);
  }
}

/** Whether the file begins as JPEG, PNG, GIF, TIFF, WebP, AVIF or BMP does. */
async function hasImageMagic(path: string): Promise<boolean> {
  await using file = await open(path);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(12), 0, 12, 0);
  const magic = buffer.toString("hex", 0, bytesRead);
  return /^(?:ffd8ff|89504e47|47494638|49492a00|4d4d002a|52494646.{8}57454250|.{8}66747970617669|424d.{8}0{8})/.test(
    magic,
  );
}

function openUrl(from: string, read: ReadOptions): Source {
  const reference = readReference(from, "");
  const why = "error" in reference ? reference.error.message : "a file is named by its path";
  if ("error" in reference || reference.image.startsWith("file:")) {
    throw new LabelmillError("URL_REFUSED", `${quoted(reference.shown)}: ${why}`);
  }
  return listed(describeUrl(reference.image), read, () => [reference]);
}

function* references(folder: string, files: readonly ListedFile[]): Generator<Reference> {
  for (const { path } of files) yield fileReference(path, join(folder, path));
}

function listed(input: Input, read: ReadOptions, all: () => Iterable<Reference>): Source {
  const asked = read.column ?? read.idColumn ?? read.keep[0];
  if (asked !== undefined) {
    const message = `only a list has columns, so there is no ${quoted(asked)} in ${quoted(input.uri)}`;
    throw new LabelmillError("COLUMN_NOT_FOUND", message);
  }
  return {
    input,
    read,
    async *records() {
      let record = 0;
      for (const reference of all()) yield { record: record++, id: idOf(reference), ...itemOf(reference) };
    },
  };
}

async function openList(origin: Origin, folder: string, input: Input, read: ReadOptions): Promise<Source> {
  const wanted = { names: IMAGE_COLUMNS, skipBlankLines: true };
  const table = await openTable(origin, read, wanted, ({ value, id, input: kept }) => {
    const reference = readReference(value, folder);
    const item = itemOf(reference, kept);
    // The reference names the record where no id column does.
    if (!id && reference.shown !== "") item.id = idOf(reference);
    return item;
  });
  return { input, ...table };
}

function idOf(reference: Reference): string {
  return reference.shown.slice(0, MAX_ID_LENGTH).toWellFormed();
}

function itemOf(reference: Reference, kept?: Record<string, unknown>): Partial<SourceRecord> {
  const input = { ...kept, image: reference.shown };
  return "error" in reference ? { input, error: reference.error } : { input, image: reference.image };
}
