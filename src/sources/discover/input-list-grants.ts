import { lstatSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { FileGrants } from "../../fetch/grants.ts";

/** The files of this machine that a list may name. A list on S3 may name none. */
export class ListGrants {
  readonly #grants: FileGrants;
  /** Folders that were asked for, and whether they are granted: a list names many files of few folders. */
  readonly #folders = new Map<string, Promise<boolean>>();

  /** @param roots files and folders; only real paths count, so that no link leads out */
  constructor(roots: readonly string[]) {
    this.#grants = new FileGrants(roots);
  }

  /** Whether the file of a `file:` URI may be read; it need not be there. */
  async has(uri: string): Promise<boolean> {
    const path = fileURLToPath(uri);
    if (!isLink(path) && (await this.#hasFolder(dirname(path)))) return true;
    return await this.#covers(uri);
  }

  #hasFolder(folder: string): Promise<boolean> {
    const known = this.#folders.get(folder) ?? this.#covers(pathToFileURL(folder).href);
    this.#folders.set(folder, known);
    return known;
  }

  #covers(uri: string): Promise<boolean> {
    return this.#grants.resolveOutput(uri).then(
      () => true,
      () => false,
    );
  }
}

/** Not by a promise: a list of 100,000 names would wait for the thread pool most of its time. */
function isLink(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  } catch {
    // Whoever opens it says what is wrong with it.
    return false;
  }
}
