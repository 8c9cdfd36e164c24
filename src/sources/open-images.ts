import { realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import type { Input, ReadOptions } from "../schemas/input.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { stdinOrigin } from "./bytes/file-origin.ts";
import { describeUrl } from "./bytes/input-identity.ts";
import type { Origin } from "./bytes/origin.ts";
import { isS3Uri } from "./bytes/s3-origin.ts";
import { columnarFormatOf } from "./columnar/formats.ts";
import { withFormatHint } from "./discover/format-hint.ts";
import type { FoundImages } from "./discover/found-images.ts";
import { type InputList, listOf, openInputList } from "./discover/input-list.ts";
import { findLocalImages, localGrant } from "./discover/local-images.ts";
import { imageRule } from "./discover/name-rules.ts";
import { PassedOver } from "./discover/passed-over.ts";
import { findS3Images, s3Grant } from "./discover/s3-images.ts";
import { imageId, referenceItem } from "./item/image-item.ts";
import { type Base, inFolder, type Reference, readReference } from "./item/image-reference.ts";
import { openTable } from "./open-table.ts";
import { quoted, type Source } from "./source.ts";
import { isTarName } from "./tar/archive-name.ts";
import { openTarSource } from "./tar/open.ts";
import { formatOfName } from "./text/detect-format.ts";

export type OpenImages = {
  /** Receives what the argument covers and is passed over. */
  passedOver?: PassedOver;
  /** Rejects with NOT_GRANTED if a data file of an inventory may not be opened. Default: all may be opened. */
  granted?: (uri: string) => Promise<void>;
};

/**
 * Opens images: a file, a folder, a pattern, an S3 object or prefix, a URL, a tar archive, or a list of paths and URLs (a file, an object,
 * standard input, or `@LIST`).
 * @throws LabelmillError INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, COLUMN_NOT_FOUND, URL_REFUSED or USAGE, before anything is queued
 */
export function openImageSource(
  from: string | { stdin: Readable },
  read: ReadOptions,
  s3?: S3,
  options: OpenImages = {},
): Promise<Source> {
  return withFormatHint(read, () => openImages(from, read, s3, options));
}

async function openImages(
  from: string | { stdin: Readable },
  read: ReadOptions,
  s3: S3 | undefined,
  { passedOver = new PassedOver(), granted }: OpenImages,
): Promise<Source> {
  if (typeof from !== "string") return openList(stdinOrigin(from.stdin), inFolder(process.cwd()), read);
  const list = listOf(from);
  if (list !== undefined) return await openListed(await openInputList(list, s3, granted), read, passedOver);
  if (read.format === "tar" || isTarName(from)) return await openTarSource(from, read, s3);
  const found = await find(from, s3, passedOver);
  if ("references" in found) return { ...listed(found.input, read, found.references), ids: found.ids };
  const isNamed = read.format !== "auto" || formatOfName(found.origin.name) !== "auto";
  if (!isNamed && (await columnarFormatOf(found.origin, read)) === undefined) {
    const expected = "expected an image, a folder or a list (.txt, .lst, .csv, .tsv, .json, .jsonl, .parquet, .arrow)";
    throw new LabelmillError("INPUT_UNREADABLE", `${expected}, got ${quoted(from)}; if it is a list, set --format`);
  }
  const source = await openList(found.origin, found.base, read);
  if (isS3Uri(from) || isOwnFolder(from, source.input.uri)) return source;
  // For a symbolic link to a list, paths are relative to the folder of the link, which workers do not know: no splitter.
  const { splitter, ...rest } = source;
  return rest;
}

function isOwnFolder(list: string, uri: string): boolean {
  return dirname(resolve(list)) === dirname(fileURLToPath(uri));
}

/**
 * The files and folders (real paths) that an argument makes readable: an image, a folder, the base folder of a pattern, the folder of a list
 * (or of `@LIST`), the working folder for `-` (a list on standard input), none for a URL. Throws if the argument names nothing.
 */
export async function grantsOf(from: string): Promise<string[]> {
  if (from === "-") return [await realpath(process.cwd())];
  const list = listOf(from);
  if (list !== undefined) return isS3Uri(list) ? [] : [await realpath(dirname(list))];
  return isUrl(from) ? [] : [await localGrant(from)];
}

/**
 * The `s3://` URIs that an argument makes readable, for S3Grants: a prefix, an image, or the prefix that contains a list on S3. A list that is
 * not on S3 grants nothing there, even if it names objects.
 * @throws LabelmillError URL_REFUSED
 */
export function s3GrantsOf(from: string): string[] {
  const at = listOf(from) ?? from;
  return isS3Uri(at) ? [s3Grant(at)] : [];
}

async function find(from: string, s3: S3 | undefined, passedOver: PassedOver): Promise<FoundImages> {
  if (isS3Uri(from)) return await findS3Images(from, s3, passedOver);
  return isUrl(from) ? findUrl(from) : await findLocalImages(from, passedOver);
}

function isUrl(from: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(from);
}

function findUrl(from: string): FoundImages {
  const reference = readReference(from, inFolder(""));
  const why = "error" in reference ? reference.error.message : "a file is named by its path";
  if ("error" in reference || reference.image.startsWith("file:")) {
    throw new LabelmillError("URL_REFUSED", `${quoted(reference.shown)}: ${why}`);
  }
  return { input: describeUrl(reference.image), references: () => [reference], ids: "data" };
}

/** The images that a list names. An inventory names all objects; those that are not images are passed over. */
async function openListed(list: InputList, read: ReadOptions, passedOver: PassedOver): Promise<Source> {
  const { input, label } = list;
  const references = async function* (report = new PassedOver()): AsyncGenerator<Reference> {
    for await (const { reference, key } of list.entries(report)) {
      const why = key === undefined ? undefined : imageRule(key);
      if (why === undefined) yield reference;
      else report.add(why, reference.shown);
    }
  };
  let images = 0;
  for await (const _ of references(passedOver)) {
    images++;
    // An inventory is read to its end: the run needs what is passed over before it is created.
    if (!list.isInventory) break;
  }
  if (images > 0) return { ...listed(input, read, references), ids: "data" };
  throw new LabelmillError("INPUT_EMPTY", `there are no images in ${label}${passedOver.inWords}`);
}

function listed(input: Input, read: ReadOptions, all: () => Iterable<Reference> | AsyncIterable<Reference>): Source {
  const requested = read.column ?? read.idColumn ?? read.keep[0] ?? read.where?.[0]?.column;
  if (requested !== undefined) {
    const message = `only a list has columns: ${quoted(input.uri)} has no column ${quoted(requested)}`;
    throw new LabelmillError("COLUMN_NOT_FOUND", message);
  }
  return {
    input,
    read,
    async *records(idName) {
      let record = 0;
      for await (const reference of all())
        yield { record: record++, id: imageId(reference, idName), ...referenceItem(reference) };
    },
  };
}

function openList(origin: Origin, base: Base, read: ReadOptions): Promise<Source> {
  return openTable(origin, read, "image-classification", base);
}
