import type { Input, ReadOptions } from "../schemas/input.ts";
import { isSampled } from "./sample.ts";
import type { Cursor, Cut, CutSize, Splitter } from "./source.ts";
import type { TarRecord } from "./tar-records.ts";

type Piece = {
  first: number;
  count: number;
  selected: number;
  bytes: number;
  offset: number;
  end: number;
  room: CutSize;
};

/** Cuts an archive between its keys, never within one. What a cut adds to a slice is the bytes of its items. */
export class TarSplitter implements Splitter {
  readonly #input: Input;
  readonly #read: ReadOptions;
  readonly #records: (from: number) => AsyncIterable<TarRecord>;

  /** @param records the archive's records from an offset on, which is its beginning or the end of a record */
  constructor(input: Input, read: ReadOptions, records: (from: number) => AsyncIterable<TarRecord>) {
    this.#input = input;
    this.#read = read;
    this.#records = records;
  }

  async *cuts(from: Cursor, room: () => CutSize, sample: number | undefined): AsyncGenerator<Cut> {
    let record = from.record;
    let piece: Piece | undefined;
    for await (const { start, end } of this.#records(from.offset ?? 0)) {
      const isItem = sample === undefined || isSampled(this.#input.uri, record, sample);
      const bytes = isItem ? end - start : 0;
      if (piece && piece.selected > 0 && piece.bytes + bytes > piece.room.bytes) {
        yield this.#cut(piece, sample);
        piece = undefined;
      }
      piece ??= { first: record, count: 0, selected: 0, bytes: 0, offset: start, end, room: room() };
      piece.count++;
      piece.selected += isItem ? 1 : 0;
      piece.bytes += bytes;
      piece.end = end;
      record++;
      if (piece.selected >= piece.room.items) {
        yield this.#cut(piece, sample);
        piece = undefined;
      }
    }
    if (piece) yield this.#cut(piece, sample);
  }

  #cut({ first, count, selected, bytes, offset, end }: Piece, sample: number | undefined): Cut {
    return {
      split: {
        input: this.#input,
        first,
        count,
        ...(selected === count ? {} : { selected }),
        at: { kind: "tar", offset, bytes: end - offset },
        read: this.#read,
        ...(sample === undefined ? {} : { sample }),
      },
      bytes,
      next: { record: first + count, offset: end },
    };
  }
}
