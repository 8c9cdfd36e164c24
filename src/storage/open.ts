import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import { FsStore } from "./fs/store.ts";
import { MemoryStore } from "./memory.ts";
import type { S3 } from "./s3/s3.ts";
import { S3Store } from "./s3/store.ts";
import type { ObjectStore, ReadableStore } from "./store.ts";

const KNOWN = "file:///FOLDER, s3://BUCKET/PREFIX/, memory:NAME";

/**
 * The store at a URI, as `ObjectStore.uri` gives it: `file:///FOLDER` (made if it is not there), `s3://BUCKET/PREFIX/` (the
 * bucket has to be there) or `memory:NAME`.
 * @throws LabelmillError USAGE for any other URI, and for S3 where no `s3` is given; STORE_FAILED if there is no such place
 */
export async function openStore(uri: string, s3?: S3): Promise<ObjectStore> {
  const place = placeOf(uri, s3);
  if ("s3" in place) return S3Store.open(place.s3, uri);
  return "folder" in place ? FsStore.open(place.folder) : new MemoryStore(place.name);
}

/**
 * The store at a URI, to be read: nothing is made, probed or cleaned there.
 * @throws LabelmillError as `openStore`; STORE_NOT_FOUND for a folder that is not there
 */
export async function openToRead(uri: string, s3?: S3): Promise<ReadableStore> {
  const place = placeOf(uri, s3);
  if ("s3" in place) return S3Store.openToRead(place.s3, uri);
  return "folder" in place ? FsStore.openToRead(place.folder) : new MemoryStore(place.name);
}

function placeOf(uri: string, s3: S3 | undefined): { s3: S3 } | { folder: string } | { name: string } {
  if (/^s3:/i.test(uri)) {
    if (s3) return { s3 };
    throw new LabelmillError("USAGE", `${shown(uri)} is on S3, which is not set up here: use file:///FOLDER`);
  }
  if (/^file:\/\//i.test(uri)) return { folder: folderOf(uri) };
  const name = /^memory:([A-Za-z0-9._-]{1,100})\/?$/.exec(uri)?.[1];
  if (name !== undefined) return { name };
  throw unknown(uri);
}

function folderOf(uri: string): string {
  const url = URL.parse(uri);
  // A NUL is in no path. `?` and `#` in a folder's name must come escaped: unescaped they would silently cut the path.
  if (!url || /[?#]|%00/.test(uri)) throw unknown(uri);
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw unknown(uri, error);
  }
}

function unknown(uri: string, cause?: unknown): LabelmillError {
  return new LabelmillError("USAGE", `expected the URI of a store (${KNOWN}), got ${shown(uri)}`, { cause });
}

function shown(uri: string): string {
  return JSON.stringify(uri.slice(0, 200).replace(/\/\/[^/@]*@/, "//***@"));
}
