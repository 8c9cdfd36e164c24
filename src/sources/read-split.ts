import type { Task } from "../schemas/job.ts";
import type { Split } from "../schemas/split.ts";
import type { S3 } from "../storage/s3.ts";
import { readParquetSplit } from "./parquet-split.ts";
import { readTextSplit } from "./read-text.ts";
import type { SourceRecord } from "./source.ts";
import { readTarSplit } from "./tar-split.ts";

/** Where the bytes of a split's input are: the file's real path, or the S3 that its URI is of. */
export type SplitPlace = { path: string } | { s3: S3 };

/**
 * The items of a split, in order: those records of it that are items of the run, each as its input's `records()` gives it.
 * @throws LabelmillError INPUT_CHANGED where the input is not what it was when it was planned, or other records are found there
 */
export async function* readSplit(
  split: Split,
  task: Task,
  place: SplitPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const { at } = split;
  if (at.kind === "text") return yield* readTextSplit({ ...split, at }, task, place, signal);
  if (at.kind === "tar") return yield* readTarSplit(split, place, signal);
  yield* readParquetSplit(split, task, place, signal);
}
