import { createHash, hash } from "node:crypto";
import type { Stats } from "node:fs";
import { type FileHandle, lstat, mkdir, readdir, realpath, rename, rmdir, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { LabelmillError, systemCode } from "../../errors.ts";
import { IrregularFile, openReal } from "../../regular-file.ts";
import { checkKey, isKey, sortKeys } from "../key.ts";
import { withKeyLock } from "../lease/key-lock.ts";
import type { Body, ObjectStore, ReadableStore, StoredObject } from "../store.ts";
import { ifThere } from "../store-error.ts";
import { linkIfAbsent, linksWork, removeLeftovers, syncFolder, withAside } from "./atomic-write.ts";
import { storeError } from "./error.ts";
import { makeFolders } from "./folders.ts";

const PIECE_BYTES = 1 << 18;
/** Files in one page of a list. Only the sizes of one page are in memory. */
const STATS_AT_ONCE = 64;

/**
 * Objects as files in a folder. On a file system without hard links, `putIfAbsent` checks and then renames: an object is always
 * whole, but two concurrent writers may both succeed, and `conditionalWrites` is false. A folder that is replaced by a symbolic
 * link between our check and our use is not noticed: a process that can do this can change the store anyway.
 */
export class FsStore implements ObjectStore {
  readonly uri: string;
  readonly conditionalWrites: boolean;
  /** Real path. */
  readonly #root: string;
  /** Folders below the root that are synced, and whose leftovers are removed. */
  readonly #known = new Set<string>();

  private constructor(root: string, conditionalWrites: boolean) {
    this.#root = root;
    this.uri = pathToFileURL(`${root}/`).href;
    this.conditionalWrites = conditionalWrites;
  }

  /**
   * Makes the folder if it does not exist, and removes what killed writers left in it more than an hour ago.
   * @throws LabelmillError STORE_FAILED
   */
  static async open(folder: string): Promise<FsStore> {
    try {
      const root = await makeRoot(folder);
      await removeLeftovers(root);
      return new FsStore(root, await linksWork(root));
    } catch (error) {
      throw storeError(error, "write", folder);
    }
  }

  /** @throws LabelmillError STORE_NOT_FOUND, STORE_FAILED */
  static async openToRead(folder: string): Promise<ReadableStore> {
    try {
      return new FsStore(await realpath(folder), true);
    } catch (error) {
      const code = systemCode(error);
      if (code !== "ENOENT" && code !== "ENOTDIR") throw storeError(error, "read", folder);
      throw new LabelmillError("STORE_NOT_FOUND", `${folder} does not exist`);
    }
  }

  async get(key: string): Promise<Uint8Array> {
    const file = await this.#open(key);
    try {
      return await file.readFile();
    } catch (error) {
      throw storeError(error, "read", this.#path(key));
    } finally {
      await file.close();
    }
  }

  async getWithEtag(key: string): Promise<{ bytes: Uint8Array; etag: string } | undefined> {
    return ifThere(async () => {
      const bytes = await this.get(key);
      return { bytes, etag: hash("sha256", bytes) };
    });
  }

  async head(key: string): Promise<{ etag: string; size: number } | undefined> {
    return ifThere(async () => {
      const sum = createHash("sha256");
      let size = 0;
      for await (const piece of this.stream(key)) {
        sum.update(piece);
        size += piece.length;
      }
      return { etag: sum.digest("hex"), size };
    });
  }

  async *stream(key: string): AsyncGenerator<Uint8Array> {
    const file = await this.#open(key);
    try {
      for (;;) {
        const { bytesRead, buffer } = await file.read(new Uint8Array(PIECE_BYTES), 0, PIECE_BYTES, null);
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } catch (error) {
      throw storeError(error, "read", this.#path(key));
    } finally {
      await file.close();
    }
  }

  async put(key: string, body: Body): Promise<void> {
    await this.#write(key, body, async (aside, path) => rename(aside, path));
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    return this.#write(key, body, (aside, path) => this.#placeIfAbsent(key, aside, path));
  }

  async replaceIf(key: string, etag: string | null, body: Uint8Array): Promise<string | null> {
    const replace = (aside: string, path: string) =>
      withKeyLock(path, async (stillOurs) => {
        const found = await this.head(key);
        if ((found?.etag ?? null) !== etag) return false;
        await stillOurs();
        if (etag === null) return this.#placeIfAbsent(key, aside, path);
        await rename(aside, path);
        return true;
      });
    return (await this.#write(key, body, replace)) ? hash("sha256", body) : null;
  }

  async remove(key: string): Promise<void> {
    checkKey(key);
    const path = this.#path(key);
    try {
      await this.#enter(key, false);
      await unlink(path);
    } catch (error) {
      const code = systemCode(error);
      if (code !== "ENOENT" && code !== "ENOTDIR") throw storeError(error, "write", path);
      return;
    }
    await this.#removeEmptyFolders(dirname(path));
  }

  /** A folder exists only for its keys: it is removed with the last of them. */
  async #removeEmptyFolders(folder: string): Promise<void> {
    for (let at = folder; at !== this.#root; at = dirname(at)) {
      this.#known.delete(at);
      try {
        await rmdir(at);
      } catch {
        return;
      }
    }
  }

  async *list(prefix: string): AsyncGenerator<StoredObject> {
    try {
      yield* walk(this.#root, "", prefix);
    } catch (error) {
      throw storeError(error, "list", this.#root);
    }
  }

  async #placeIfAbsent(key: string, aside: string, path: string): Promise<boolean> {
    if (this.conditionalWrites && (await linkIfAbsent(aside, path))) return true;
    const there = await lstatIfThere(path);
    if (there) {
      if (!there.isFile()) throw this.#notAFile(key);
      return false;
    }
    if (this.conditionalWrites) throw new LabelmillError("STORE_FAILED", `${path} was removed while it was written`);
    await rename(aside, path);
    return true;
  }

  #path(key: string): string {
    return join(this.#root, key);
  }

  async #write<T>(key: string, body: Body, place: (aside: string, path: string) => Promise<T>): Promise<T> {
    checkKey(key);
    const path = this.#path(key);
    try {
      const folder = dirname(path);
      await this.#enter(key, true);
      return await withAside(folder, basename(path), body, (aside) => place(aside, path));
    } catch (error) {
      throw storeError(error, "write", path);
    }
  }

  async #open(key: string): Promise<FileHandle> {
    checkKey(key);
    const path = this.#path(key);
    try {
      await this.#enter(key, false);
      return await openReal(path);
    } catch (error) {
      if (error instanceof IrregularFile) throw error.kind === "a folder" ? this.#notFound(key) : this.#notAFile(key);
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") throw this.#notFound(key);
      throw storeError(error, "read", path);
    }
  }

  /** Checks the folders of a key from the root downwards: none may be a link. Makes the missing ones if `make`. */
  async #enter(key: string, make: boolean): Promise<void> {
    let folder = this.#root;
    for (const segment of key.split("/").slice(0, -1)) {
      const above = folder;
      folder = join(folder, segment);
      if (make) await makeFolder(folder);
      const found = await lstat(folder);
      if (found.isSymbolicLink()) throw this.#notAFile(key);
      if (make && !this.#known.has(folder)) {
        await removeLeftovers(folder);
        // Even a folder of another process must be synced before the objects in it count as safe.
        await syncFolder(above);
        this.#known.add(folder);
      }
    }
  }

  #notFound(key: string): LabelmillError {
    return new LabelmillError("STORE_NOT_FOUND", `${this.#path(key)} does not exist`);
  }

  #notAFile(key: string): LabelmillError {
    const message = `${this.#path(key)}: expected a regular file in folders without links, got something else: remove it, or choose another folder`;
    return new LabelmillError("NOT_GRANTED", message);
  }
}

/** Makes a folder and the missing folders above it. @returns its real path */
async function makeRoot(folder: string): Promise<string> {
  const made = await makeFolders(folder);
  const root = await realpath(folder);
  if (made === undefined) return root;
  const top = await realpath(dirname(made));
  for (let at = root; at !== top; at = dirname(at)) await syncFolder(dirname(at));
  return root;
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
  }
}

async function lstatIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** The objects in a folder and below it. `above` is the folder's key prefix, with a `/` at its end. */
async function* walk(root: string, above: string, prefix: string): AsyncGenerator<StoredObject> {
  const found: string[] = [];
  for (const entry of await readdir(join(root, above), { withFileTypes: true })) {
    const key = above + entry.name;
    // Aside files and names that no store accepts: no key could read them.
    if (!isKey(key)) continue;
    // The `/` in a folder's name sorts it so that its keys are in order among the others.
    if (entry.isDirectory()) found.push(`${key}/`);
    else if (entry.isFile() && key.startsWith(prefix)) found.push(key);
  }
  const sorted = sortKeys(found);
  for (let at = 0; at < sorted.length; at += STATS_AT_ONCE) {
    const some = sorted.slice(at, at + STATS_AT_ONCE);
    const stats = await Promise.all(some.map((key) => (key.endsWith("/") ? undefined : lstatIfThere(join(root, key)))));
    for (const [i, key] of some.entries()) {
      const stat = stats[i];
      if (stat) yield { key, size: stat.size };
      else if (key.endsWith("/") && (key.startsWith(prefix) || prefix.startsWith(key))) yield* walk(root, key, prefix);
    }
  }
}
