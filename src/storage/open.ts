import { fileURLToPath } from "node:url";
import { LabelmillError } from "../errors.ts";
import { FsStore } from "./fs.ts";
import { MemoryStore } from "./memory.ts";
import type { ObjectStore } from "./store.ts";

const KNOWN = "file:///FOLDER, memory:NAME";

/**
 * The store at a URI, as `ObjectStore.uri` gives it: `file:///FOLDER` (made if it is not there) or `memory:NAME`.
 * @throws LabelmillError USAGE for any other URI, STORE_FAILED if the folder can be neither found nor made
 */
export async function openStore(uri: string): Promise<ObjectStore> {
  if (/^file:\/\//i.test(uri)) return FsStore.open(folderOf(uri));
  const name = /^memory:([A-Za-z0-9._-]{1,100})\/?$/.exec(uri)?.[1];
  if (name !== undefined) return new MemoryStore(name);
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
  const shown = uri.slice(0, 200).replace(/\/\/[^/@]*@/, "//***@");
  return new LabelmillError("USAGE", `expected the URI of a store (${KNOWN}), got ${JSON.stringify(shown)}`, { cause });
}
