import type { Split } from "../schemas/split.ts";
import type { Task } from "../schemas/task.ts";
import { readArrowSplit } from "./arrow/read-split.ts";
import type { InputPlace } from "./bytes/origin.ts";
import { readParquetSplit } from "./parquet/read-split.ts";
import type { SourceRecord } from "./source.ts";
import type { SplitContext } from "./split-context.ts";
import { readTarSplit } from "./tar/read-split.ts";
import { readTextSplit } from "./text/read-split.ts";

type Place = Split["at"];
type SplitOf<At extends Place> = Split & { at: At };

/** The reader of each kind of split. */
const READERS: {
  [Kind in Place["kind"]]: (
    split: SplitOf<Extract<Place, { kind: Kind }>>,
    context: SplitContext,
  ) => AsyncGenerator<SourceRecord>;
} = { text: readTextSplit, tar: readTarSplit, parquet: readParquetSplit, arrow: readArrowSplit };

/**
 * The items of a split, in order: its records that are items of the run, each as `records()` of its input gives it.
 * @throws LabelmillError INPUT_CHANGED if the input changed since it was planned, or if it has other records there
 */
export async function* readSplit(
  split: Split,
  task: Task,
  place: InputPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const read = READERS[split.at.kind] as (split: Split, context: SplitContext) => AsyncGenerator<SourceRecord>;
  yield* read(split, { task, place, signal });
}
