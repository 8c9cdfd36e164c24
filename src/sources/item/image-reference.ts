import { basename, dirname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { parseS3Reference } from "../../fetch/s3-grants.ts";
import type { ItemError } from "../../schemas/item.ts";
import { parseS3Uri, type S3Place, s3Uri } from "../../storage/s3/uri.ts";
import { isPrefix } from "../bytes/s3-origin.ts";

/** The longest image URL that a job may contain, in characters. */
const MAX_IMAGE_LENGTH = 8192;

/** An image's URL (`file:`, `http:`, `https:` or `s3:`), or the error of a bad reference. `shown` is for ids and results: it has no password. */
export type Reference = { shown: string; image: string } | { shown: string; error: ItemError };

/** What paths in a list are relative to. `isLocal`: the list is on this machine and may name files with `file:` URLs. */
export type Base = { at: (path: string) => Reference; isLocal: boolean };

const SCHEME = /^(?:([a-z][a-z0-9+.-]*):\/\/|(https?|file|data|blob|javascript|s3):)/i;

/** Parses a path or a `file:`, `http(s):` or `s3:` URL of a list. */
export function readReference(written: string, base: Base): Reference {
  const reference = written.trim();
  if (reference === "")
    return refused(reference, "RECORD_INVALID", "expected an image's path or URL, got an empty one");
  if (reference.length > MAX_IMAGE_LENGTH) return tooLong(reference.slice(0, 200));
  const found = SCHEME.exec(reference);
  if (found === null) return base.at(reference);
  const scheme = (found[1] ?? found[2])!.toLowerCase();
  const shown = reference.replace(/^([a-z0-9+.-]+:[\\/]*)[^\\/?#]*@/i, "$1***@");
  if (!["http", "https", "file", "s3"].includes(scheme)) {
    const expected = "expected a path or an http, https, s3 or file URL";
    return refused(shown, "URL_REFUSED", `${expected}, got the scheme ${scheme.slice(0, 40)}`);
  }
  // The URL parser is not used: it resolves `..`.
  if (scheme === "s3" && shown === reference) return objectReference(shown, reference);
  const url = URL.parse(reference);
  if (url === null) return refused(shown, "URL_REFUSED", "expected a URL, got text that cannot be parsed as one");
  if (url.username !== "" || url.password !== "" || shown !== reference) {
    return refused(shown, "URL_REFUSED", "expected a URL without a user name and password");
  }
  if (scheme === "file") {
    const expected = "expected a path below the list, or an s3, http or https URL: a list on S3 cannot name files";
    return base.isLocal ? fromFileUrl(shown, url) : refused(shown, "URL_REFUSED", `${expected} of this machine`);
  }
  return url.href.length > MAX_IMAGE_LENGTH ? tooLong(shown.slice(0, 200)) : { shown, image: url.href };
}

export function inFolder(folder: string): Base {
  return { at: (path) => fileReference(path, resolve(folder, path)), isLocal: true };
}

/** As in a folder, paths are not encoded. A prefix has no parent and no root: only a leading `./` is special. */
export function belowPrefix({ bucket, key }: S3Place): Base {
  const at = (path: string): Reference => {
    if (!path.isWellFormed())
      return refused(path.toWellFormed(), "RECORD_INVALID", "expected an image's path in UTF-8");
    return objectReference(path, s3Uri({ bucket, key: key + path.replace(/^(?:\.\/)+/, "") }));
  };
  return { at, isLocal: false };
}

/** What paths in a list at this `file:` or `s3:` URI are relative to: the folder or prefix of the list. */
export function baseOfInput(uri: string): Base {
  if (uri.startsWith("file:")) return inFolder(dirname(fileURLToPath(uri)));
  const { bucket, key } = parseS3Uri(uri);
  return belowPrefix({ bucket, key: key.slice(0, key.lastIndexOf("/") + 1) });
}

/** The reference to the object at an `s3:` URI. */
export function objectReference(shown: string, uri: string): Reference {
  if (uri.length > MAX_IMAGE_LENGTH) return tooLong(shown.slice(0, 200));
  try {
    const at = parseS3Reference(uri);
    if (!isPrefix(at)) return { shown, image: s3Uri(at) };
    return refused(shown, "URL_REFUSED", "expected an object, got a bucket or prefix");
  } catch (error) {
    if (!(error instanceof LabelmillError)) throw error;
    return refused(shown, error.code, error.message);
  }
}

/** The reference to the file at an absolute path. */
export function fileReference(shown: string, path: string): Reference {
  if (path.includes("\0"))
    return refused(shown, "RECORD_INVALID", "expected an image's path, got one with a NUL character");
  const image = pathToFileURL(path).href;
  return image.length > MAX_IMAGE_LENGTH ? tooLong(basename(shown)) : { shown, image };
}

function fromFileUrl(shown: string, url: URL): Reference {
  try {
    return fileReference(shown, fileURLToPath(url));
  } catch {
    return refused(shown, "URL_REFUSED", "expected a file URL of this machine, without a host or an escaped slash");
  }
}

function tooLong(shown: string): Reference {
  return refused(shown, "RECORD_TOO_LARGE", `expected an image's URL of at most ${MAX_IMAGE_LENGTH} characters`);
}

function refused(shown: string, code: string, message: string): Reference {
  return { shown, error: { code, message } };
}
