import type { Input, ReadOptions } from "../../schemas/input.ts";
import type { TarPlace } from "../../schemas/split.ts";
import { isSampled } from "../item/sample.ts";
import type { Cursor, Cut, CutSize, Splitter } from "../source.ts";
import type { TarEntry, TarIndex } from "./tar-index.ts";

/** The most entries in the lists of a split, which is part of a job: replaced images, and ranges of records whose ids are their whole names. */
const MAX_LISTED = 500;
/** The most records of a split, items or not: a worker keeps the header of each in memory. */
const MAX_RECORDS = 50_000;
/** The most bytes that a split may span if members are kept: a worker may load all of them, even those that belong to no image. */
const MAX_SPAN_BYTES = 128 << 20;

type Piece = { first: number; count: number; selected: number; bytes: number; at: TarPlace; room: CutSize };

/** Cuts an archive between its images. The directory of the archive is read once. The bytes of a cut are those of its items. */
export class TarSplitter implements Splitter {
  readonly #input: Input;
  readonly #read: ReadOptions;
  readonly #index: () => Promise<TarIndex>;

  /** @param index reads the whole archive's directory */
  constructor(input: Input, read: ReadOptions, index: () => Promise<TarIndex>) {
    this.#input = input;
    this.#read = read;
    this.#index = index;
  }

  async *cuts(from: Cursor, room: () => CutSize, sample: number | undefined): AsyncGenerator<Cut> {
    const index = await this.#index();
    // The first cut has the report. A caller that continues after the first record already has it.
    let report = from.record === 0 && index.report.count > 0 ? { passedOver: index.report } : {};
    const cut = (piece: Piece): Cut => {
      const made = { ...this.#cut(piece, sample), ...report };
      report = {};
      return made;
    };
    let record = from.record;
    let piece: Piece | undefined;
    for (const entry of index.entries(from.record)) {
      const isItem = sample === undefined || isSampled(this.#input.uri, record, sample);
      const bytes = isItem ? entry.bytes : 0;
      const isFull = piece && piece.selected > 0 && piece.bytes + bytes > piece.room.bytes;
      if (piece && (isFull || this.#isTooLong(piece, entry))) {
        yield cut(piece);
        piece = undefined;
      }
      piece ??= { first: record, count: 0, selected: 0, bytes: 0, at: placeOf(entry), room: room() };
      extend(piece, entry);
      piece.selected += isItem ? 1 : 0;
      piece.bytes += bytes;
      record++;
      if (piece.selected >= piece.room.items) {
        yield cut(piece);
        piece = undefined;
      }
    }
    if (piece) yield cut(piece);
  }

  /** Whether a split with one more entry would be too long for a worker or a job. */
  #isTooLong({ at, count }: Piece, { offset, end, replaced }: TarEntry): boolean {
    if (count >= MAX_RECORDS) return true;
    // An entry adds one range at most.
    const listed = (at.replaced?.length ?? 0) + (at.byName?.length ?? 0) + replaced.length + 1;
    if (listed > MAX_LISTED) return true;
    const span = Math.max(at.offset + at.bytes, end) - Math.min(at.offset, offset);
    return this.#read.keep.length > 0 && span > MAX_SPAN_BYTES;
  }

  #cut({ first, count, selected, bytes, at }: Piece, sample: number | undefined): Cut {
    return {
      split: {
        input: this.#input,
        first,
        count,
        ...(selected === count ? {} : { selected }),
        at,
        read: this.#read,
        ...(sample === undefined ? {} : { sample }),
      },
      bytes,
      next: { record: first + count },
    };
  }
}

function placeOf({ offset, end, image }: TarEntry): TarPlace {
  return { kind: "tar", offset, bytes: end - offset, images: [image.start, image.end] };
}

function extend(piece: Piece, { offset, end, image, byName, replaced }: TarEntry): void {
  const { at } = piece;
  const last = Math.max(at.offset + at.bytes, end);
  at.offset = Math.min(at.offset, offset);
  at.bytes = last - at.offset;
  at.images = [at.images![0], image.end];
  if (byName) {
    const ranges = at.byName ?? [];
    at.byName = ranges;
    const range = ranges.at(-1);
    if (range && range[0] + range[1] === piece.count) range[1]++;
    else ranges.push([piece.count, 1]);
  }
  const inside = replaced.filter((start) => start >= at.images![0]);
  if (inside.length > 0) at.replaced = [...(at.replaced ?? []), ...inside];
  piece.count++;
}
