import type { ReadOptions } from "../../schemas/input.ts";
import type { Split, TextPlace } from "../../schemas/split.ts";
import { type Origin, unchanged } from "../bytes/origin.ts";
import { isSampled } from "../item/sample.ts";
import type { Cursor, Cut, CutSize, Splitter } from "../source.ts";
import { type Header, type RowReader, readerOf, type Wanted } from "./row-reader.ts";
import type { ScanPlace } from "./scanner.ts";

/** What was found when the input was opened. `begin`: where its records or its header begin. `header`: only for CSV. */
export type Opened = { begin: ScanPlace; header: Header | undefined };

/**
 * Cuts plain UTF-8 text (CSV, JSONL, JSON arrays, lines) with the scanner that workers use. Only what the filter needs is decoded.
 * @throws LabelmillError INPUT_CHANGED if the input changes
 */
export function textSplitter(origin: Origin, read: ReadOptions, wanted: Wanted, opened: Opened): Splitter {
  return {
    cuts: (from, room, sample) => unchanged(origin, cut(from, room, sample)),
  };

  async function* cut(from: Cursor, room: () => CutSize, sample: number | undefined): AsyncGenerator<Cut> {
    const begin = placeOf(from, opened.begin);
    const reader = readerOf(read, wanted, { header: opened.header, at: begin });
    const { scanner } = reader;
    // A header comes before the first record.
    let toPass = from.offset === undefined && opened.header !== undefined;
    const next = stepOf(reader);
    const { uri } = origin.input;
    const filling = new FillingCut(from.record, begin, room);
    // S3 refuses a range that begins at the end of an object.
    const isOver = origin.input.size !== null && begin.position >= origin.input.size;
    for await (const { last, chunk } of withLast(isOver ? [] : origin.bytes({ start: begin.position }))) {
      if (chunk) scanner.append(chunk);
      for (let passes = next(last); passes !== undefined; passes = next(last)) {
        if (toPass) {
          toPass = false;
          filling.begin(scanner.place);
          continue;
        }
        const isItem = passes && (sample === undefined || isSampled(uri, filling.record, sample));
        if (filling.add(isItem, scanner.place)) yield take();
      }
    }
    if (filling.count > 0) yield take();

    function take(): Cut {
      const { at, next, ...range } = filling.take(scanner.takeReach());
      const header = opened.header && { width: opened.header.width, places: [...opened.header.places] };
      const rest = { read, ...(sample === undefined ? {} : { sample }) };
      return { split: { input: origin.input, ...range, at: { ...at, ...header }, ...rest }, bytes: at.bytes, next };
    }
  }
}

function placeOf({ offset, line, discarding, credit }: Cursor, begin: ScanPlace): ScanPlace {
  return {
    position: offset ?? begin.position,
    line: line ?? begin.line,
    ...(discarding ? { discarding } : {}),
    ...(credit === undefined ? {} : { credit }),
  };
}

/** Skips one record. @returns whether it passes the filter. Undefined: more bytes are needed */
function stepOf({ scanner, take, read }: RowReader): (last: boolean) => boolean | undefined {
  if (!read.where?.length) return (last) => scanner.pass(last) || undefined;
  return (last) => {
    const raw = scanner.next(last);
    return raw === undefined ? undefined : !take(raw)?.skipped;
  };
}

async function* withLast(
  chunks: AsyncIterable<Buffer> | readonly Buffer[],
): AsyncGenerator<{ last: boolean; chunk?: Buffer }> {
  for await (const chunk of chunks) yield { last: false, chunk };
  yield { last: true };
}

/** The cut that is being filled. */
class FillingCut {
  /** The number of the next record. */
  record: number;
  count = 0;
  #selected = 0;
  #begin: ScanPlace;
  /** The place after the last record. */
  #end: ScanPlace;
  #size: CutSize | undefined;
  readonly #room: () => CutSize;

  constructor(record: number, begin: ScanPlace, room: () => CutSize) {
    this.record = record;
    this.#begin = begin;
    this.#end = begin;
    this.#room = room;
  }

  begin(place: ScanPlace): void {
    this.#begin = place;
  }

  /** Adds a record that ends at this place. @returns whether the cut is full */
  add(isItem: boolean, end: ScanPlace): boolean {
    this.#size ??= this.#room();
    this.#end = end;
    this.record++;
    this.count++;
    if (isItem) this.#selected++;
    const { items, bytes } = this.#size;
    return this.#selected >= items || (this.#selected > 0 && end.position - this.#begin.position >= bytes);
  }

  /** @param reach the offset up to which bytes were examined because of bad records */
  take(reach: number): Pick<Split, "first" | "count" | "selected"> & { at: TextPlace; next: Cursor } {
    const { position: offset, ...state } = this.#begin;
    const { position: end, ...next } = this.#end;
    const { record, count } = this;
    const at: TextPlace = {
      kind: "text",
      offset,
      bytes: end - offset,
      ...(reach > end ? { reach: reach - offset } : {}),
      ...state,
    };
    const selected = this.#selected === count ? {} : { selected: this.#selected };
    this.#begin = this.#end;
    this.#size = undefined;
    [this.count, this.#selected] = [0, 0];
    return { first: record - count, count, ...selected, at, next: { record, offset: end, ...next } };
  }
}
