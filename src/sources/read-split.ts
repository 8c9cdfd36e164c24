import type { Split } from "../schemas/split.ts";
import type { Task } from "../schemas/task.ts";
import { readArrowSplit } from "./arrow/read-split.ts";
import { originAsPlanned } from "./bytes/open.ts";
import type { InputPlace } from "./bytes/origin.ts";
import { imageItem, pictureItem } from "./item/image-item.ts";
import type { ToItem } from "./item/record.ts";
import { textItem } from "./item/text-item.ts";
import { readParquetSplit } from "./parquet/read-split.ts";
import type { SourceRecord } from "./source.ts";
import { readTarSplit } from "./tar/read-split.ts";
import { baseOf, readTextSplit } from "./text/read-split.ts";

/**
 * The items of a split, in order: those records of it that are items of the run, each as its input's `records()` gives it.
 * @throws LabelmillError INPUT_CHANGED where the input is not what it was when it was planned, or other records are found there
 */
export async function* readSplit(
  split: Split,
  task: Task,
  place: InputPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const { at, input } = split;
  if (at.kind === "text") return yield* readTextSplit({ ...split, at }, task, place, signal);
  if (at.kind === "tar") return yield* readTarSplit({ ...split, at }, place, signal);
  const origin = originAsPlanned(input, place);
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
