import { LabelmillError } from "../errors.ts";
import type { Task } from "../schemas/job.ts";
import type { Split } from "../schemas/split.ts";
import type { S3 } from "../storage/s3.ts";
import type { SourceRecord } from "./source.ts";

/** Where the bytes of a split's input are: the file's real path, or the S3 that its URI is of. */
export type SplitPlace = { path: string } | { s3: S3 };

/**
 * The items of a split, in order: those records of it that are items of the run, each as its input's `records()` gives it.
 * @throws LabelmillError INPUT_CHANGED where the input is not what it was when it was planned, or other records are found there
 */
export async function* readSplit(
  split: Split,
  _task: Task,
  _place: SplitPlace,
  _signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  yield* [];
  throw new LabelmillError("INTERNAL", `no reader for ${split.at.kind}`);
}
