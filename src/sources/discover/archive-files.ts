import { isTarName } from "../tar/archive-name.ts";
import { dataRule } from "./name-rules.ts";
import type { PassOver } from "./passed-over.ts";

type ArchiveFile = { name: string; path: string };

/** Selects the files of a folder, prefix or inventory that are archives by their names. The others are passed over. */
export class ArchiveFiles {
  readonly #passOver: PassOver;
  readonly #files: ArchiveFile[] = [];

  constructor(passOver: PassOver) {
    this.#passOver = passOver;
  }

  get count(): number {
    return this.#files.length;
  }

  /** @param path below the argument @param size in bytes, if known */
  add(name: string, path: string, size?: number): void {
    const why = dataRule(path) ?? (isTarName(path) ? (size === 0 ? "empty" : undefined) : "other-format");
    if (why === undefined) this.#files.push({ name, path });
    else this.#passOver(why, name);
  }

  /** The archives, in the order in which they were added. */
  take(): readonly ArchiveFile[] {
    return this.#files;
  }
}
