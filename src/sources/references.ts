import { basename, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { ItemError } from "../schemas/item.ts";

/** The longest image URL that travels, in characters. */
export const MAX_IMAGE_LENGTH = 8192;

/** An image's URL (`file:`, `http:` or `https:`), or why the reference is none. `shown` is fit for ids and results: no password in it. */
export type Reference = { shown: string; image: string } | { shown: string; error: ItemError };

const SCHEME = /^(?:([a-z][a-z0-9+.-]*):\/\/|(https?|file|data|blob|javascript|s3):)/i;

/** Reads a path (relative to `folder`), a `file:` or an `http(s)` URL as it is written in a list. */
export function readReference(written: string, folder: string): Reference {
  const reference = written.trim();
  if (reference === "")
    return refused(reference, "RECORD_INVALID", "expected an image's path or URL, came an empty one");
  if (reference.length > MAX_IMAGE_LENGTH) return tooLong(reference.slice(0, 200));
  const found = SCHEME.exec(reference);
  if (found === null) return fileReference(reference, resolve(folder, reference));
  const scheme = (found[1] ?? found[2])!.toLowerCase();
  const shown = reference.replace(/^([a-z0-9+.-]+:[\\/]*)[^\\/?#]*@/i, "$1***@");
  if (!["http", "https", "file"].includes(scheme)) {
    const came = scheme.slice(0, 40);
    return refused(shown, "URL_REFUSED", `expected a path or an http, https or file URL, came the scheme ${came}`);
  }
  const url = URL.parse(reference);
  if (url === null) return refused(shown, "URL_REFUSED", "expected a URL, came what cannot be read as one");
  if (url.username !== "" || url.password !== "" || shown !== reference) {
    return refused(shown, "URL_REFUSED", "expected a URL without a user name and password in it");
  }
  if (scheme === "file") return fromFileUrl(shown, url);
  return url.href.length > MAX_IMAGE_LENGTH ? tooLong(shown.slice(0, 200)) : { shown, image: url.href };
}

/** The reference of a file at an absolute path. */
export function fileReference(shown: string, path: string): Reference {
  if (path.includes("\0")) return refused(shown, "RECORD_INVALID", "expected an image's path, came one with a NUL");
  const image = pathToFileURL(path).href;
  return image.length > MAX_IMAGE_LENGTH ? tooLong(basename(shown)) : { shown, image };
}

function fromFileUrl(shown: string, url: URL): Reference {
  try {
    return fileReference(shown, fileURLToPath(url));
  } catch {
    return refused(
      shown,
      "URL_REFUSED",
      "expected a file URL of this machine, with neither a host nor an escaped slash",
    );
  }
}

function tooLong(shown: string): Reference {
  return refused(shown, "RECORD_TOO_LARGE", `expected an image's URL of at most ${MAX_IMAGE_LENGTH} characters`);
}

function refused(shown: string, code: string, message: string): Reference {
  return { shown, error: { code, message } };
}
