import type { Split } from "../schemas/split.ts";
import type { Task } from "../schemas/task.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { readArrowSplit } from "./arrow/read-split.ts";
import { fileAsPlanned } from "./bytes/origin.ts";
import type { FilePlace } from "./bytes/read.ts";
import { objectAsPlanned } from "./bytes/s3-origin.ts";
import { imageItem, pictureItem } from "./images.ts";
import { readParquetSplit } from "./parquet/read-split.ts";
import type { SourceRecord } from "./source.ts";
import { readTarSplit } from "./tar/read-split.ts";
import type { ToItem } from "./text/open.ts";
import { baseOf, readTextSplit } from "./text/read-split.ts";
import { textItem } from "./texts.ts";

/** Where the bytes of a split's input are: a file with its real path, or the S3 that its URI is of. */
export type SplitPlace = FilePlace | { s3: S3 };

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
  const { at, input } = split;
  if (at.kind === "text") return yield* readTextSplit({ ...split, at }, task, place, signal);
  if (at.kind === "tar") return yield* readTarSplit({ ...split, at }, place, signal);
  const origin = "path" in place ? fileAsPlanned(place, input) : objectAsPlanned(input, place.s3);
  const pictures = at.pictures === true && task === "image-classification";
  const content = pictures ? "pictures" : "text";
  const toItem = itemOf(task, pictures, input.uri);
  if (at.kind === "arrow") yield* readArrowSplit({ ...split, at }, origin, content, toItem, signal);
  else yield* readParquetSplit(split, origin, content, toItem, signal);
}

function itemOf(task: Task, pictures: boolean, uri: string): ToItem {
  if (task !== "image-classification") return textItem;
  return pictures ? pictureItem(baseOf(uri)) : imageItem(baseOf(uri));
}
