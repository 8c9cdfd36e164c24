import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { quoted } from "../source.ts";
import { extensionOf } from "../text/detect-format.ts";
import { dataFormatOf, dataRule } from "./name-rules.ts";
import type { PassOver } from "./passed-over.ts";

const NAMES_SHOWN = 3;

/** What was named, and how its files are to be read. */
export type Named = { argument: string; format: ReadOptions["format"]; isPattern: boolean };

type DataFile = { name: string; path: string };

/**
 * Of the files that a folder, a prefix, a pattern or an inventory covers, those that are read: the ones of a known format, all of one. Where
 * the format is told, those of others are passed over. A pattern names files by itself, unless its last segment is nothing but wildcards:
 * an extension that is not known is taken then, and several formats are where the pattern says the extensions.
 */
export class DataFiles {
  readonly #named: Named;
  readonly #passOver: PassOver;
  readonly #takesUnknown: boolean;
  readonly #mayMix: boolean;
  #files: DataFile[] = [];

  /** @param passOver gets the names of the files that are passed over */
  constructor(named: Named, passOver: PassOver) {
    this.#named = named;
    this.#passOver = passOver;
    const last = named.argument.slice(named.argument.lastIndexOf("/") + 1);
    this.#takesUnknown = named.isPattern && !/^[*?]+$/.test(last);
    this.#mayMix = named.isPattern && /\.[^.*?]*$/.test(last);
  }

  /** Files that may be read. */
  get count(): number {
    return this.#files.length;
  }

  /** @param path below what was named @param size in bytes, where it is known */
  add(name: string, path: string, size?: number): void {
    const why = dataRule(path) ?? (size === 0 ? "empty" : undefined);
    if (why !== undefined) this.#passOver(why, name);
    else if (this.#named.format !== "auto" || this.#takesUnknown || dataFormatOf(path) !== undefined)
      this.#files.push({ name, path });
    else this.#passOver("unknown-extension", name);
  }

  /** In the order in which they were added. @throws LabelmillError USAGE where they are of several formats: with the counts and the fix */
  take(): readonly DataFile[] {
    const { format } = this.#named;
    const known = this.#files.filter(({ path }) => dataFormatOf(path) !== undefined);
    const told = known.filter(({ path }) => mayBe(dataFormatOf(path), format));
    // Where no name says the format that was told, it is that of files whose names say nothing.
    const takesAll = this.#takesUnknown || known.length === 0;
    const files = told.length > 0 ? told : takesAll ? this.#files : known;
    const taken = new Set(files);
    for (const file of this.#files) if (!taken.has(file)) this.#passOver(reasonOf(file), file.name);
    if (told.length === 0 && !this.#mayMix) checkOneFormat(files, this.#named);
    return files;
  }
}

/** Whether a file may be of a format, by what its name says: a `.json` is an array or JSONL. */
function mayBe(named: string | undefined, format: string): boolean {
  return named === format || (named === "json" && format === "jsonl");
}

function reasonOf({ path }: DataFile): "unknown-extension" | "other-format" {
  return dataFormatOf(path) === undefined ? "unknown-extension" : "other-format";
}

function checkOneFormat(files: readonly DataFile[], { argument, format, isPattern }: Named): void {
  const groups = new Map<string, DataFile[]>();
  for (const file of files) {
    const extension = extensionOf(file.path);
    const named = dataFormatOf(file.path) ?? (extension === "" ? "no extension" : `.${extension}`);
    const group = mayBe("json", named) ? "json" : named;
    const members = groups.get(group) ?? [];
    groups.set(group, members);
    members.push(file);
  }
  if (groups.size < 2) return;
  const all = [...groups].sort(([, left], [, right]) => right.length - left.length);
  const counts = all.map(([group, members]) => {
    const shown = members.slice(0, NAMES_SHOWN).map(({ path }) => quoted(path));
    return `${members.length} as ${group} (${shown.join(", ")}${members.length > NAMES_SHOWN ? ", …" : ""})`;
  });
  const below = isPattern || argument.startsWith("@") ? "" : argument.replace(/\/?$/, "/");
  const pattern = `${below}**/*.${extensionOf(all[0]![1][0]!.path) || "csv"}`;
  const by = `name those of one format with a pattern such as ${quoted(pattern)}`;
  const fix =
    format === "auto" ? `${by}, or say which with --format` : `none is named as one of --format ${format}: ${by}`;
  throw new LabelmillError(
    "USAGE",
    `expected files of one format in ${quoted(argument)}, got ${counts.join(", ")}; ${fix}`,
  );
}
