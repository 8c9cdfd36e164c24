import { createHash } from "node:crypto";
import { LabelmillError } from "../errors.ts";
import { endingOf } from "../rows/data-file.ts";
import type { FileEncoder } from "../rows/file-encoder.ts";
import { keptColumns } from "../rows/kept-columns.ts";
import { fits, typeOfKinds } from "../rows/kept-kinds.ts";
import { readPart } from "../rows/part.ts";
import type { Compactions, SliceRange } from "../runs/compactions.ts";
import type { RunLedger } from "../runs/ledger/ledger.ts";
import type { SliceRecord } from "../runs/ledger/slices.ts";
import type { ColumnType } from "../schemas/input.ts";
import type { CompactJob } from "../schemas/job.ts";
import type { FileLine } from "../schemas/manifest.ts";
import { dataFileName, ERRORS_FOLDER, partKey } from "../schemas/names.ts";
import type { Row } from "../schemas/row.ts";
import type { RunFile } from "../schemas/run.ts";
import type { ObjectStore } from "../storage/store.ts";
import { readRunFile } from "./output.ts";
import { labelFolder } from "./partition.ts";

const DEFAULT_TARGET_BYTES = 128_000_000;

/** Cuts committed slices into consecutive ranges, each of parts with `targetBytes` bytes or more (the last one may have fewer). */
export async function* rangesOf(
  slices: AsyncIterable<Pick<SliceRecord, "slice" | "receipt">>,
  targetBytes: number | null,
): AsyncGenerator<SliceRange> {
  let range = 0;
  let first = 0;
  let last = -1;
  let bytes = 0;
  for await (const { slice, receipt } of slices) {
    last = slice;
    bytes += receipt?.bytes ?? 0;
    if (bytes < (targetBytes ?? DEFAULT_TARGET_BYTES)) continue;
    yield { range, first, last };
    range += 1;
    first = slice + 1;
    bytes = 0;
  }
  if (first <= last) yield { range, first, last };
}

/**
 * Makes the output files of a range of slices, a pure function of their parts, and notes them. Every step may be done again: the first
 * write of a file stands, and a later try takes it as it is. Memory: the parts of the range, and the largest file.
 * @throws LabelmillError PART_MISMATCH where a part is not the one that was committed
 */
export async function compactRange(
  job: CompactJob,
  store: ObjectStore,
  ledger: RunLedger,
  compactions: Compactions,
  encoder: FileEncoder,
): Promise<void> {
  const { run, range, output } = job;
  // Whoever had it made has gone on, or the run was given up.
  if ((await ledger.state(run)) !== "finalizing") return;
  if (!(await compactions.isDone(run, range))) {
    const runFile = await readRunFile(store);
    if (runFile?.run !== run) throw new LabelmillError("RUN_UNKNOWN", `${store.uri} does not hold the run ${run}`);
    const files: FileLine[] = [];
    const kept = keptColumns(await columnTypes(runFile, compactions));
    const ending = endingOf(runFile.spec.output);
    for (const [folder, { pieces, rows, ...of }] of await collect(job, runFile, store, ledger)) {
      const key = folder + dataFileName(run, job.first, job.last, ending);
      const made = await encoder.encode(pieces, runFile.spec.output, kept);
      const bytes = (await store.putIfAbsent(key, made)) ? made : await store.get(key);
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      files.push({ key, range, first: job.first, last: job.last, rows, bytes: bytes.length, sha256, ...of });
    }
    await compactions.done(run, range, files);
  }
  await compactions.closeIfDone(run, output);
}

/** What one file is to hold; pieces in the form of parts. */
type FileContent = Pick<FileLine, "partition" | "errors"> & { pieces: Uint8Array[]; rows: number };

/** The rows of a range by the folder that they go to, in order. */
async function collect(
  { run, first, last }: CompactJob,
  { spec: { output } }: RunFile,
  store: ObjectStore,
  ledger: RunLedger,
): Promise<Map<string, FileContent>> {
  const files = new Map<string, FileContent>();
  const isSplit = output.partitionBy !== null || output.errors === "apart";
  const placeOf = (row: Row) => {
    if ("error" in row && output.errors === "apart") return { folder: ERRORS_FOLDER, errors: true as const };
    if (output.partitionBy === null) return { folder: "" };
    const partition = "error" in row ? null : row.label;
    return { folder: labelFolder(partition), partition };
  };
  for await (const { slice, receipt } of ledger.slices(run, last + 1, 500, first)) {
    const key = partKey(run, slice, true);
    const bytes = await store.get(key);
    const part = readPart(bytes);
    if (part.receipt.sha256 !== receipt?.sha256)
      throw new LabelmillError(
        "PART_MISMATCH",
        `${store.uri}${key} is not the part that was committed: it was changed`,
      );
    const places = part.rows.map(placeOf);
    const split = isSplit ? linesOf(bytes) : [];
    const added = new Map<string, Uint8Array[]>();
    for (const [i, { folder, ...of }] of places.entries()) {
      const file = files.get(folder) ?? { pieces: [], rows: 0, ...of };
      files.set(folder, file);
      file.rows += 1;
      const lines = added.get(folder) ?? [];
      added.set(folder, lines);
      if (isSplit) lines.push(split[i]!);
    }
    for (const [folder, some] of added) files.get(folder)!.pieces.push(isSplit ? Buffer.concat(some) : bytes);
  }
  return new Map([...files].sort(([a], [b]) => (`${a}data-` < `${b}data-` ? -1 : 1)));
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

/** The types of the kept columns, the same for all files of a run: what all inputs say, where the rows bear it out; else what the rows hold. */
export async function columnTypes(
  { run, spec, inputs }: RunFile,
  compactions: Compactions,
): Promise<Map<string, ColumnType>> {
  const kinds = await compactions.columns(run);
  const names = new Set([...spec.read.keep, ...[...kinds.keys()].sort()]);
  return new Map(
    [...names].map((name) => {
      const found = kinds.get(name) ?? new Set();
      const [said, ...others] = new Set(inputs.map(({ columns }) => columns?.[name]));
      return [name, said && others.length === 0 && fits(said, found) ? said : typeOfKinds(found)];
    }),
  );
}
