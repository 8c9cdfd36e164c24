import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import { FsStore } from "./fs/store.ts";
import { MemoryStore } from "./memory.ts";
import type { S3 } from "./s3/s3.ts";
import { S3Store } from "./s3/store.ts";
import type { ObjectStore, ReadableStore } from "./store.ts";

const KNOWN = "file:///FOLDER, s3://BUCKET/PREFIX/, memory:NAME";

/**
 * Opens the store at a URI in the form of `ObjectStore.uri`: `file:///FOLDER` (made if it does not exist),
 * `s3://BUCKET/PREFIX/` (the bucket must exist) or `memory:NAME`.
 * @throws LabelmillError USAGE for any other URI, and for S3 without `s3`; STORE_FAILED if the place cannot be used
 */
export async function openStore(uri: string, s3?: S3): Promise<ObjectStore> {
  const place = placeOf(uri, s3);
  if ("s3" in place) return S3Store.open(place.s3, uri);
  return "folder" in place ? FsStore.open(place.folder) : new MemoryStore(place.name);
}

/**
 * Opens the store at a URI for reading: nothing is made, probed or removed.
 * @throws LabelmillError as `openStore`; STORE_NOT_FOUND for a missing folder
 */
export async function openToRead(uri: string, s3?: S3): Promise<ReadableStore> {
  const place = placeOf(uri, s3);
  if ("s3" in place) return S3Store.openToRead(place.s3, uri);
  return "folder" in place ? FsStore.openToRead(place.folder) : new MemoryStore(place.name);
}

function placeOf(uri: string, s3: S3 | undefined): { s3: S3 } | { folder: string } | { name: string } {
  if (/^s3:/i.test(uri)) {
    if (s3) return { s3 };
    throw new LabelmillError(
      "USAGE",
      `expected a store that is configured here, got ${shown(uri)} on S3, which is not: use file:///FOLDER`,
    );
  }
  if (/^file:\/\//i.test(uri)) return { folder: folderOf(uri) };
  const name = /^memory:([A-Za-z0-9._-]{1,100})\/?$/.exec(uri)?.[1];
  if (name !== undefined) return { name };
  throw unknown(uri);
}

function folderOf(uri: string): string {
  const url = URL.parse(uri);
  // No path contains a NUL. `?` and `#` in a folder's name must be escaped: unescaped they would cut the path silently.
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
