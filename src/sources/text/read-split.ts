import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import type { Split, TextPlace } from "../../schemas/split.ts";
import type { Task } from "../../schemas/task.ts";
import { parseS3Uri } from "../../storage/s3/uri.ts";
import { originAsPlanned } from "../bytes/open.ts";
import type { InputPlace } from "../bytes/origin.ts";
import { type Origin, unchanged } from "../bytes/origin.ts";
import { imageItem } from "../item/image-item.ts";
import { type Base, belowPrefix, inFolder } from "../item/image-reference.ts";
import { idNameOf, toRecord } from "../item/record.ts";
import { isSampled } from "../item/sample.ts";
import { textItem } from "../item/text-item.ts";
import { quoted, type SourceRecord } from "../source.ts";
import { readerOf } from "./row-reader.ts";

/**
 * The items of a split of text, as `records()` of its whole input gives them: only its own bytes are read, and those that bad records
 * in it made the planner look at. Fails with INPUT_CHANGED where the input is another one by now, or its records do not end where they
 * did; with ABORTED by the signal.
 */
export async function* readTextSplit(
  split: Split & { at: TextPlace },
  task: Task,
  place: InputPlace,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const origin = originAsPlanned(split.input, place);
  yield* unchanged(origin, itemsOf(split, task, origin, signal));
}

async function* itemsOf(
  { input, first, count, at, read, sample, only, idName }: Split & { at: TextPlace },
  task: Task,
  origin: Origin,
  signal: AbortSignal,
): AsyncGenerator<SourceRecord> {
  const isImages = task === "image-classification";
  const { offset, bytes, reach = 0, width, places, kind, ...state } = at;
  const { scanner, take } = readerOf(
    read,
    { names: [], skipBlankLines: isImages, label: quoted(input.uri) },
    { at: { position: offset, ...state }, header: width && places ? { width, places } : undefined },
  );
  const toItem = isImages ? imageItem(baseOf(input.uri)) : textItem;
  const name = idName ?? idNameOf(input.uri);
  const numbers = only && new Set(only);
  const isWanted = (record: number): boolean =>
    (numbers?.has(record) ?? true) && (sample === undefined || isSampled(input.uri, record, sample));
  const end = first + count;
  let record = first;

  function* items(last: boolean): Generator<SourceRecord> {
    while (record < end) {
      if (!isWanted(record)) {
        if (!scanner.pass(last)) return;
      } else {
        const raw = scanner.next(last);
        if (raw === undefined) return;
        const row = take(raw)!;
        if (!row.skipped) yield toRecord(row, raw.line, record, name, toItem);
      }
      record++;
    }
  }

  const length = Math.max(bytes, reach);
  const chunks = length === 0 ? [] : origin.bytes({ start: offset, end: offset + length }, signal);
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    scanner.append(chunk);
    yield* items(false);
    if (record === end) break;
  }
  yield* items(true);
  if (record === end && scanner.position === offset + bytes) return;
  throw new LabelmillError(
    "INPUT_CHANGED",
    `records ${first} to ${end - 1} of ${input.uri}: expected ${count} in the bytes ${offset} to ${offset + bytes - 1}, came ${record - first} up to ${scanner.position - 1}: label it into another --out`,
  );
}

/** What the paths in a list at this URI are relative to. */
export function baseOf(uri: string): Base {
  if (uri.startsWith("file:")) return inFolder(dirname(fileURLToPath(uri)));
  const { bucket, key } = parseS3Uri(uri);
  return belowPrefix({ bucket, key: key.slice(0, key.lastIndexOf("/") + 1) });
}
