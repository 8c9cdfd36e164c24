import { realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import type { Input, ReadOptions } from "../schemas/input.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { openArrow } from "./arrow/open.ts";
import { stdinOrigin } from "./bytes/file-origin.ts";
import { describeUrl } from "./bytes/input-identity.ts";
import type { Origin } from "./bytes/origin.ts";
import { isS3Uri } from "./bytes/s3-origin.ts";
import { rowFormatOf } from "./columnar/formats.ts";
import { withFormatHint } from "./discover/format-hint.ts";
import type { FoundImages } from "./discover/found-images.ts";
import { type InputList, listOf, openInputList } from "./discover/input-list.ts";
import { findLocalImages, localGrant } from "./discover/local-images.ts";
import { imageRule } from "./discover/name-rules.ts";
import { PassedOver } from "./discover/passed-over.ts";
import { findS3Images, s3Grant } from "./discover/s3-images.ts";
import { IMAGE_COLUMNS, imageId, imageItem, pictureItem, referenceItem } from "./item/image-item.ts";
import { type Base, inFolder, type Reference, readReference } from "./item/image-reference.ts";
import { openParquet } from "./parquet/open.ts";
import { quoted, type Source } from "./source.ts";
import { isTarName } from "./tar/archive-name.ts";
import { openTarSource } from "./tar/open.ts";
import { formatOfName } from "./text/detect-format.ts";
import { openTable } from "./text/open.ts";

export type OpenImages = {
  /** Is told of what the argument covers and is left out. */
  passedOver?: PassedOver;
  /** Rejects with NOT_GRANTED where the data files of an inventory may not be opened. By default all may. */
  granted?: (uri: string) => Promise<void>;
};

/**
 * Opens images: a file, a folder, a pattern, an object or prefix of S3, a URL, a tar archive, or a list of paths and URLs (a file, an object,
 * standard input, or `@LIST`). Fails before anything is queued, with INPUT_NOT_FOUND, INPUT_UNREADABLE, INPUT_EMPTY, COLUMN_NOT_FOUND,
 * URL_REFUSED or USAGE.
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
  if (!isNamed && (await rowFormatOf(found.origin, read)) === undefined) {
    const expected = "expected an image, a folder or a list (.txt, .lst, .csv, .tsv, .json, .jsonl, .parquet, .arrow)";
    throw new LabelmillError("INPUT_UNREADABLE", `${expected}, came ${quoted(from)}; if it is a list, say --format`);
  }
  const source = await openList(found.origin, found.base, read);
  if (isS3Uri(from) || isOwnFolder(from, source.input.uri)) return source;
  // A link to a list: its paths are relative to where the link lies, which nobody else knows.
  const { splitter, ...rest } = source;
  return rest;
}

function isOwnFolder(list: string, uri: string): boolean {
  return dirname(resolve(list)) === dirname(fileURLToPath(uri));
}

/**
 * The files and folders (real paths) that an argument makes readable: an image itself, a folder, a pattern's base folder, a list's
 * own folder (of `@LIST` too); for `-`, a list on standard input, the working folder; for a URL none. Fails where the argument names nothing.
 */
export async function grantsOf(from: string): Promise<string[]> {
  if (from === "-") return [await realpath(process.cwd())];
  const list = listOf(from);
  if (list !== undefined) return isS3Uri(list) ? [] : [await realpath(dirname(list))];
  return isUrl(from) ? [] : [await localGrant(from)];
}

/**
 * The `s3://` URIs that an argument makes readable, as S3Grants takes them: a prefix, an image itself, the prefix that a list on S3
 * lies in. A list that lies elsewhere grants nothing on S3, whatever it names. Fails with URL_REFUSED.
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

/** What a list names: all of it, or the images of an inventory, which names all that there is. */
async function openListed(list: InputList, read: ReadOptions, passedOver: PassedOver): Promise<Source> {
  const { input, label } = list;
  const references = async function* (told = new PassedOver()): AsyncGenerator<Reference> {
    for await (const { reference, key } of list.entries(told)) {
      const why = key === undefined ? undefined : imageRule(key);
      if (why === undefined) yield reference;
      else told.add(why, reference.shown);
    }
  };
  let images = 0;
  for await (const _ of references(passedOver)) {
    images++;
    // An inventory is read to its end: what is passed over has to be known before its run is made.
    if (!list.isInventory) break;
  }
  if (images > 0) return { ...listed(input, read, references), ids: "data" };
  throw new LabelmillError("INPUT_EMPTY", `there are no images in ${label}${passedOver.inWords}`);
}

function listed(input: Input, read: ReadOptions, all: () => Iterable<Reference> | AsyncIterable<Reference>): Source {
  const asked = read.column ?? read.idColumn ?? read.keep[0] ?? read.where?.[0]?.column;
  if (asked !== undefined) {
    const message = `only a list has columns, so there is no ${quoted(asked)} in ${quoted(input.uri)}`;
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

async function openList(origin: Origin, base: Base, read: ReadOptions): Promise<Source> {
  const wanted = { names: IMAGE_COLUMNS, toItem: imageItem(base), toPicture: pictureItem(base) };
  const format = await rowFormatOf(origin, read);
  if (format !== undefined) return await (format === "arrow" ? openArrow : openParquet)(origin, read, wanted);
  return await openTable(origin, read, { names: IMAGE_COLUMNS, skipBlankLines: true }, imageItem(base));
}
