import { createHash } from "node:crypto";
import { LabelmillError } from "../errors.ts";
import type { FileEncoder } from "../rows/file-encoder.ts";
import { keptColumns } from "../rows/kept-columns.ts";
import { readPart } from "../rows/part.ts";
import type { Compactions } from "../runs/compactions.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import type { CompactJob } from "../schemas/job.ts";
import type { FileLine } from "../schemas/manifest.ts";
import { dataFileName, ERRORS_FOLDER, partKey } from "../schemas/names.ts";
import { fileExtension, type OutputOptions } from "../schemas/output.ts";
import type { Row } from "../schemas/row.ts";
import type { RunFile } from "../schemas/run.ts";
import type { ObjectStore } from "../storage/store.ts";
import { columnTypes } from "./column-types.ts";
import { readRunFile } from "./output.ts";
import { labelFolder } from "./partition.ts";

/**
 * Makes the output files of a range of slices, a pure function of their parts, and records them. Each step can be
 * repeated: the first write of a file stays, and a later attempt uses it. Memory: the parts of the range, and the
 * largest file.
 * @throws LabelmillError PART_MISMATCH if a part is not the one that was committed
 */
export async function compactRange(
  job: CompactJob,
  store: ObjectStore,
  ledger: RunLedger,
  compactions: Compactions,
  encoder: FileEncoder,
): Promise<void> {
  const { run, range, output } = job;
  // In any other state, the files were made already or the run ended.
  if ((await ledger.state(run)) !== "finalizing") return;
  if (!(await compactions.isDone(run, range))) {
    const runFile = await readRunFile(store);
    if (runFile?.run !== run) throw new LabelmillError("RUN_UNKNOWN", `${store.uri} does not hold the run ${run}`);
    const files: FileLine[] = [];
    const kept = keptColumns(await columnTypes(runFile, compactions));
    const extension = fileExtension(runFile.spec.output);
    for (const [folder, { pieces, rows, ...place }] of await collect(job, runFile, store, ledger)) {
      const key = folder + dataFileName(run, job.first, job.last, extension);
      const made = await encoder.encode(pieces, runFile.spec.output, kept);
      const bytes = (await store.putIfAbsent(key, made)) ? made : await store.get(key);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      files.push({ key, range, first: job.first, last: job.last, rows, bytes: bytes.length, sha256, ...place });
    }
    await compactions.done(run, range, files);
  }
  await compactions.closeIfDone(run, output);
}

/** The fields of `_files.jsonl` for the rows that a file has. */
type Place = Pick<FileLine, "partition" | "errors">;
/** The content of one file: pieces of JSON lines, in the format of parts. */
type FileContent = Place & { pieces: Uint8Array[]; rows: number };

/** The rows of a range by the folder of their file, in order. */
async function collect(
  { run, first, last }: CompactJob,
  { spec: { output } }: RunFile,
  store: ObjectStore,
  ledger: RunLedger,
): Promise<Map<string, FileContent>> {
  const files = new Map<string, FileContent>();
  for await (const { slice, receipt } of ledger.slices(run, last + 1, 500, first)) {
    const key = partKey(run, slice, true);
    const bytes = await store.get(key);
    const part = readPart(bytes);
    if (part.receipt.sha256 !== receipt?.sha256)
      throw new LabelmillError(
        "PART_MISMATCH",
        `${store.uri}${key} is not the part that was committed: it was changed`,
      );
    addPart(files, part.rows, bytes, output);
  }
  return new Map([...files].sort(([a], [b]) => (`${a}data-` < `${b}data-` ? -1 : 1)));
}

/** Adds the lines of a part to the files that they belong to. */
function addPart(
  files: Map<string, FileContent>,
  rows: readonly Row[],
  bytes: Uint8Array,
  output: OutputOptions,
): void {
  // Without folders, the part is one piece.
  const isSplit = output.partitionBy !== null || output.errors === "apart";
  const lines = isSplit ? linesOf(bytes) : [];
  const linesByFolder = new Map<string, Uint8Array[]>();
  for (const [i, row] of rows.entries()) {
    const { folder, ...place } = placeOf(row, output);
    const file = files.get(folder) ?? { pieces: [], rows: 0, ...place };
    files.set(folder, file);
    file.rows += 1;
    const added = linesByFolder.get(folder) ?? [];
    linesByFolder.set(folder, added);
    if (isSplit) added.push(lines[i]!);
  }
  for (const [folder, added] of linesByFolder) files.get(folder)!.pieces.push(isSplit ? Buffer.concat(added) : bytes);
}

function placeOf(row: Row, { errors, partitionBy }: OutputOptions): Place & { folder: string } {
  if ("error" in row && errors === "apart") return { folder: ERRORS_FOLDER, errors: true };
  if (partitionBy === null) return { folder: "" };
  const partition = "error" in row ? null : row.label;
  return { folder: labelFolder(partition), partition };
}

function linesOf(bytes: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(0x0a, start) + 1;
    lines.push(bytes.subarray(start, end));
    start = end;
  }
  return lines;
}
