import { lstatSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { FileGrants } from "../../fetch/grants.ts";

/** The files of this machine that an input list may name. A list on S3 may not name any. */
export class ListGrants {
  readonly #grants: FileGrants;
  /** Whether a folder is granted. Results are cached: a list names many files of few folders. */
  readonly #folders = new Map<string, Promise<boolean>>();

  /** @param roots files and folders. Paths are resolved, so that a link cannot lead out of them */
  constructor(roots: readonly string[]) {
    this.#grants = new FileGrants(roots);
  }

  /** Whether the file of a `file:` URI may be read. It does not have to exist. */
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

/** Synchronous: a list of 100,000 names would spend most of its time waiting for the thread pool. */
function isLink(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
  } catch {
    // The error is reported when the file is opened.
    return false;
  }
}
