import { createHash, type Hash, hash as hashOf } from "node:crypto";
import { messageOf } from "../../errors.ts";
import { decodeDataFile } from "../../rows/data-file.ts";
import type { FileRow } from "../../rows/file-row.ts";
import { type FileLine, type Manifest, type PartLine, type Range, selectedIn } from "../../schemas/manifest.ts";
import { dataFileName, ERRORS_FOLDER, FILES_FILE, isDataFileKey, PARTS_FOLDER } from "../../schemas/names.ts";
import { fileExtension } from "../../schemas/output.ts";
import type { RunFile } from "../../schemas/run.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { getIfExists } from "../output.ts";
import { labelFolder } from "../partition.ts";
import { fileLines } from "./lines.ts";
import { RecordSet } from "./record-set.ts";
import type { Findings } from "./verification.ts";

/**
 * Checks the files that were made of the parts. Reads the files of a range of slices when it gets the last part line of
 * the range.
 */
export class FilesCheck {
  readonly #store: ReadableStore;
  readonly #runFile: RunFile;
  readonly #manifest: Manifest;
  readonly #findings: Findings;
  readonly #hash: Hash = createHash("sha256");
  readonly #lines: AsyncIterator<FileLine>;
  readonly #sums = { count: 0, rows: 0, bytes: 0 };
  #ahead: FileLine | undefined;
  #planned: Range[] = [];
  #first = 0;
  #range = 0;

  private constructor(store: ReadableStore, runFile: RunFile, manifest: Manifest, findings: Findings) {
    this.#store = store;
    this.#runFile = runFile;
    this.#manifest = manifest;
    this.#findings = findings;
    this.#lines = fileLines(store, this.#hash, findings);
  }

  static async open(
    store: ReadableStore,
    runFile: RunFile,
    manifest: Manifest,
    findings: Findings,
  ): Promise<FilesCheck> {
    const files = new FilesCheck(store, runFile, manifest, findings);
    await files.#next();
    return files;
  }

  /** Adds the next line of `_parts.jsonl`. */
  async add({ slice, planned, rows }: PartLine): Promise<void> {
    this.#findings.totals.parts += 1;
    this.#findings.totals.planned += selectedIn(planned);
    this.#findings.equal(`rows of slice ${slice}`, rows, selectedIn(planned));
    this.#planned.push(...planned);
    if (this.#ahead?.last !== slice) return;
    const records = new RecordSet(
      this.#planned,
      this.#runFile.inputs.map(({ uri }) => uri),
    );
    const { first, last } = this.#ahead;
    this.#findings.equal(`${FILES_FILE}: first slice of range ${this.#range}`, first, this.#first);
    let key = "";
    while (this.#ahead?.last === last && this.#ahead.first === first) {
      const line = this.#ahead;
      this.#findings.equal(`${line.key}: range`, line.range, this.#range);
      if (line.key <= key) this.#findings.problem(`${FILES_FILE}: ${line.key} after ${key}`);
      key = line.key;
      await this.#file(line, records);
      await this.#next();
    }
    for (const missing of records.missing()) this.#findings.problem(`files of slices ${first} to ${last}: ${missing}`);
    this.#planned = [];
    this.#first = slice + 1;
    this.#range += 1;
  }

  /** Checks what is left after the last part line. */
  async end(): Promise<void> {
    while (this.#ahead) {
      this.#findings.problem(`${FILES_FILE} lists ${this.#ahead.key}, whose slices are not a range of the plan`);
      await this.#next();
    }
    if (selectedIn(this.#planned) > 0) this.#findings.problem(`slices from ${this.#first} on are in no file`);
    this.#findings.equal(`hash of ${FILES_FILE}`, this.#hash.digest("hex"), this.#manifest.filesSha256);
    for (const name of ["count", "rows", "bytes"] as const)
      this.#findings.equal(`${name} of the files`, this.#sums[name], this.#manifest.files?.[name]);
    let found = 0;
    for await (const { key } of this.#store.list("")) {
      if (key.startsWith(PARTS_FOLDER)) this.#findings.problem(`${key} exists, but files were made of the parts`);
      if (isDataFileKey(key) && isOurs(key)) found += 1;
    }
    // Each listed file was read, and no two of them have the same key.
    this.#findings.equal("files in the output", found, this.#sums.count);
  }

  async #file(line: FileLine, records: RecordSet): Promise<void> {
    const findings = this.#findings;
    const { run, spec } = this.#runFile;
    this.#sums.count += 1;
    this.#sums.rows += line.rows;
    this.#sums.bytes += line.bytes;
    const folder = line.errors ? ERRORS_FOLDER : line.partition === undefined ? "" : labelFolder(line.partition);
    const name = dataFileName(run, line.first, line.last, fileExtension(spec.output));
    findings.equal(`${FILES_FILE}: key`, line.key, folder + name);
    const bytes = await getIfExists(this.#store, line.key);
    if (!bytes) return findings.problem(`${line.key} is missing`);
    findings.equal(`${line.key}: bytes`, bytes.length, line.bytes);
    const sha256 = hashOf("sha256", bytes, "hex");
    findings.equal(`${line.key}: sha256`, sha256, line.sha256);
    // A file that was changed may unpack to anything, in any size.
    if (sha256 !== line.sha256) return;
    let rows = 0;
    records.begin();
    try {
      for await (const some of decodeDataFile(bytes, spec.output))
        for (const row of some) {
          rows += 1;
          const wrong = records.add(row) ?? this.#misplaced(row, line);
          if (wrong) findings.problem(`${line.key}: row ${rows}: ${wrong}`);
          this.#count(row, line);
        }
    } catch (error) {
      findings.problem(`${line.key}: ${messageOf(error)}`);
    }
    findings.equal(`${line.key}: rows`, rows, line.rows);
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
    const { totals } = this.#findings;
    if (errorCode !== undefined) totals.errors += 1;
    else {
      totals.labeled += 1;
      this.#findings.addLabels(label ?? partition ?? "", 1);
    }
  }

  async #next(): Promise<void> {
    const next = await this.#lines.next();
    this.#ahead = next.done ? undefined : next.value;
  }
}

/** Whether a data file is one of this run. A retry is a separate output within this one. */
function isOurs(key: string): boolean {
  return !key.includes("/") || key.startsWith("label=") || key.startsWith(ERRORS_FOLDER);
}
