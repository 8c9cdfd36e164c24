import { createHash, type Hash, hash as hashOf } from "node:crypto";
import { messageOf } from "../../errors.ts";
import { decodeDataFile, endingOf } from "../../rows/data-file.ts";
import type { FileRow } from "../../rows/file-row.ts";
import { type FileLine, type Manifest, type PartLine, type Range, selectedIn } from "../../schemas/manifest.ts";
import { dataFileName, ERRORS_FOLDER, FILES_FILE, isDataFileKey, PARTS_FOLDER } from "../../schemas/names.ts";
import type { RunFile } from "../../schemas/run.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { getIfThere } from "../output.ts";
import { labelFolder } from "../partition.ts";
import type { Check } from "./check.ts";
import { fileLines } from "./lines.ts";
import { RecordSet } from "./record-set.ts";

/** Reads the files that were made of the parts beside the part lines: each range of slices when its last line came. */
export class FileChecks {
  readonly #store: ReadableStore;
  readonly #runFile: RunFile;
  readonly #manifest: Manifest;
  readonly #check: Check;
  readonly #hash: Hash = createHash("sha256");
  readonly #lines: AsyncIterator<FileLine>;
  readonly #sums = { count: 0, rows: 0, bytes: 0 };
  #ahead: FileLine | undefined;
  #planned: Range[] = [];
  #first = 0;
  #range = 0;

  private constructor(store: ReadableStore, runFile: RunFile, manifest: Manifest, check: Check) {
    this.#store = store;
    this.#runFile = runFile;
    this.#manifest = manifest;
    this.#check = check;
    this.#lines = fileLines(store, this.#hash, check);
  }

  static async open(store: ReadableStore, runFile: RunFile, manifest: Manifest, check: Check): Promise<FileChecks> {
    const checks = new FileChecks(store, runFile, manifest, check);
    await checks.#next();
    return checks;
  }

  async add({ slice, planned, rows }: PartLine): Promise<void> {
    this.#check.totals.parts += 1;
    this.#check.totals.planned += selectedIn(planned);
    this.#check.equal(`rows of slice ${slice}`, rows, selectedIn(planned));
    this.#planned.push(...planned);
    if (this.#ahead?.last !== slice) return;
    const records = new RecordSet(
      this.#planned,
      this.#runFile.inputs.map(({ uri }) => uri),
    );
    const { first, last } = this.#ahead;
    this.#check.equal(`${FILES_FILE}: first slice of range ${this.#range}`, first, this.#first);
    let key = "";
    while (this.#ahead?.last === last && this.#ahead.first === first) {
      const line = this.#ahead;
      this.#check.equal(`${line.key}: range`, line.range, this.#range);
      if (line.key <= key) this.#check.problem(`${FILES_FILE}: ${line.key} after ${key}`);
      key = line.key;
      await this.#file(line, records);
      await this.#next();
    }
    for (const missing of records.missing()) this.#check.problem(`files of slices ${first} to ${last}: ${missing}`);
    this.#planned = [];
    this.#first = slice + 1;
    this.#range += 1;
  }

  async end(): Promise<void> {
    while (this.#ahead) {
      this.#check.problem(`${FILES_FILE} lists ${this.#ahead.key}, whose slices are not as the plan has them`);
      await this.#next();
    }
    if (selectedIn(this.#planned) > 0) this.#check.problem(`slices from ${this.#first} on are in no file`);
    this.#check.equal(`hash of ${FILES_FILE}`, this.#hash.digest("hex"), this.#manifest.filesSha256);
    for (const name of ["count", "rows", "bytes"] as const)
      this.#check.equal(`${name} of the files`, this.#sums[name], this.#manifest.files?.[name]);
    let found = 0;
    for await (const { key } of this.#store.list("")) {
      if (key.startsWith(PARTS_FOLDER)) this.#check.problem(`${key} is there, though files were made of the parts`);
      if (isDataFileKey(key) && isOurs(key)) found += 1;
    }
    // Each listed one was read, and no two have one key.
    this.#check.equal("files that are there", found, this.#sums.count);
  }

  async #file(line: FileLine, records: RecordSet): Promise<void> {
    const check = this.#check;
    const { run, spec } = this.#runFile;
    this.#sums.count += 1;
    this.#sums.rows += line.rows;
    this.#sums.bytes += line.bytes;
    const folder = line.errors ? ERRORS_FOLDER : line.partition === undefined ? "" : labelFolder(line.partition);
    const name = dataFileName(run, line.first, line.last, endingOf(spec.output));
    check.equal(`${FILES_FILE}: key`, line.key, folder + name);
    const bytes = await getIfThere(this.#store, line.key);
    if (!bytes) return check.problem(`${line.key} is missing`);
    check.equal(`${line.key}: bytes`, bytes.length, line.bytes);
    const sha256 = hashOf("sha256", bytes, "hex");
    check.equal(`${line.key}: sha256`, sha256, line.sha256);
    // What was changed may unpack to anything.
    if (sha256 !== line.sha256) return;
    let rows = 0;
    records.begin();
    try {
      for await (const some of decodeDataFile(bytes, spec.output))
        for (const row of some) {
          rows += 1;
          const wrong = records.take(row) ?? this.#misplaced(row, line);
          if (wrong) check.problem(`${line.key}: row ${rows}: ${wrong}`);
          this.#count(row, line);
        }
    } catch (error) {
      check.problem(`${line.key}: ${messageOf(error)}`);
    }
    check.equal(`${line.key}: rows`, rows, line.rows);
  }

  #misplaced({ label, errorCode }: FileRow, { errors, partition }: FileLine): string | undefined {
    const { output } = this.#runFile.spec;
    if (output.errors === "apart" && (errorCode !== undefined) !== (errors === true))
      return errors ? "it has a label" : "it is in error";
    if (errors || partition === undefined) return undefined;
    const found = errorCode === undefined ? (label ?? partition) : null;
    return found === partition || (found === "" && partition === null) ? undefined : `its label is ${found}`;
  }

  #count({ label, errorCode }: FileRow, { partition }: FileLine): void {
    const { totals, labels } = this.#check;
    if (errorCode !== undefined) totals.errors += 1;
    else {
      totals.labeled += 1;
      const name = label ?? partition ?? "";
      labels.set(name, (labels.get(name) ?? 0) + 1);
    }
  }

  async #next(): Promise<void> {
    const next = await this.#lines.next();
    this.#ahead = next.done ? undefined : next.value;
  }
}

/** Not those of a retry, which is an output of its own. */
function isOurs(key: string): boolean {
  return !key.includes("/") || key.startsWith("label=") || key.startsWith(ERRORS_FOLDER);
}
