import { LabelmillError } from "../../errors.ts";
import type { ReadOptions } from "../../schemas/input.ts";
import { quoted } from "../source.ts";
import { extensionOf } from "../text/detect-format.ts";
import { dataFormatOf, dataRule } from "./name-rules.ts";
import type { PassOver } from "./passed-over.ts";

const NAMES_SHOWN = 3;

/** An argument, and the format in which its files are read. */
export type Named = { argument: string; format: ReadOptions["format"]; isPattern: boolean };

type DataFile = { name: string; path: string };

/**
 * Selects the files of a folder, prefix, pattern or inventory that are read: those of a known format, which must be the same for all. If a
 * format is given, files of other formats are passed over. A pattern whose last segment is more than wildcards also takes files with an
 * unknown extension; if it contains extensions, it may take several formats.
 */
export class DataFiles {
  readonly #named: Named;
  readonly #passOver: PassOver;
  readonly #takesUnknown: boolean;
  readonly #mayMix: boolean;
  #files: DataFile[] = [];

  /** @param passOver receives the names of the files that are passed over */
  constructor(named: Named, passOver: PassOver) {
    this.#named = named;
    this.#passOver = passOver;
    const last = named.argument.slice(named.argument.lastIndexOf("/") + 1);
    this.#takesUnknown = named.isPattern && !/^[*?]+$/.test(last);
    this.#mayMix = named.isPattern && /\.[^.*?]*$/.test(last);
  }

  /** Number of files that may be read. */
  get count(): number {
    return this.#files.length;
  }

  /** @param path below the argument @param size in bytes, if known */
  add(name: string, path: string, size?: number): void {
    const why = dataRule(path) ?? (size === 0 ? "empty" : undefined);
    if (why !== undefined) this.#passOver(why, name);
    else if (this.#named.format !== "auto" || this.#takesUnknown || dataFormatOf(path) !== undefined)
      this.#files.push({ name, path });
    else this.#passOver("unknown-extension", name);
  }

  /** The selected files, in the order in which they were added. @throws LabelmillError USAGE if they have several formats */
  take(): readonly DataFile[] {
    const { format } = this.#named;
    const known = this.#files.filter(({ path }) => dataFormatOf(path) !== undefined);
    const matching = known.filter(({ path }) => mayBe(dataFormatOf(path), format));
    // If no name has the given format, it is the format of files with unknown extensions.
    const takesAll = this.#takesUnknown || known.length === 0;
    const files = matching.length > 0 ? matching : takesAll ? this.#files : known;
    const taken = new Set(files);
    for (const file of this.#files) if (!taken.has(file)) this.#passOver(reasonOf(file), file.name);
    if (matching.length === 0 && !this.#mayMix) checkOneFormat(files, this.#named);
    return files;
  }
}

/** Whether a file may have a format, by its name: a `.json` is an array or JSONL. */
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
  const by = `select one format with a pattern such as ${quoted(pattern)}`;
  const fix = format === "auto" ? `${by}, or with --format` : `no file name has the format ${format}: ${by}`;
  throw new LabelmillError(
    "USAGE",
    `expected files of one format in ${quoted(argument)}, got ${counts.join(", ")}; ${fix}`,
  );
}
