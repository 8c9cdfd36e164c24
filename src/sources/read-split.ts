import type { Task } from "../schemas/job.ts";
import type { Split } from "../schemas/split.ts";
import type { S3 } from "../storage/s3.ts";
import { readArrowSplit } from "./arrow/split.ts";
import type { FilePlace } from "./bytes.ts";
import { imageItem, pictureItem } from "./images.ts";
import { fileAsPlanned } from "./origin.ts";
import { readParquetSplit } from "./parquet-split.ts";
import { baseOf, readTextSplit } from "./read-text.ts";
import { objectAsPlanned } from "./s3-origin.ts";
import type { SourceRecord } from "./source.ts";
import type { ToItem } from "./table.ts";
import { readTarSplit } from "./tar-split.ts";
import { textItem } from "./text.ts";

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
