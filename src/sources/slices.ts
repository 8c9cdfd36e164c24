import { LabelmillError } from "../errors.ts";
import type { PassedOverReport } from "../schemas/input.ts";
import type { Item } from "../schemas/item.ts";
import { MAX_SLICE_SPLITS } from "../schemas/job.ts";
import type { Range } from "../schemas/manifest.ts";
import type { Split } from "../schemas/split.ts";
import { isSampled } from "./item/sample.ts";
import type { Cursor, CutSize, Source } from "./source.ts";

/** Where cutting continues. `slice`: the number of the next slice. `input`: the index of the source that it begins in. */
export type Place = { slice: number; input: number; items: number; cursor: Cursor };

/** What was passed over in an input, by its index. It is reported once, with the first slice that reaches the input. */
export type PassedOverIn = { input: number; report: PassedOverReport };

/** The content of one job, its ranges in the run's inputs, and where the next slice begins. */
export type Slice = { slice: number; ranges: Range[]; count: number; next: Place; passedOver?: PassedOverIn[] } & (
  | { sources: string[]; items: Item[]; splits?: undefined }
  | { splits: Split[]; sources?: undefined; items?: undefined }
);

export type SliceOptions = {
  /** Items and bytes of a slice: bytes of the input for splits, of the items' JSON (at most `inlineBytes`) for inline items. */
  size: CutSize & { inlineBytes?: number };
  /** Whether jobs contain the splits of a source, which must have a splitter, or its items. Default: inline. */
  travels?: (input: number) => "split" | "inline";
  /** The prefix of an input's made ids, if the run sets it. */
  idName?: (input: number) => string | undefined;
  sample?: number;
  /** The most items of the run: the first ones. */
  limit?: number;
  from?: Place;
};

/** The most bytes that `"source":12345` and a comma between two items add to a record's JSON. */
const SOURCE_BYTES = 16;

/**
 * Cuts the records of all sources, in order, into slices of at most `size.items` items and `size.bytes` bytes. A larger item is a slice alone.
 * A slice may span sources, but has either items or splits. The same sources and options give the same slices. Cutting from the `next` of a slice
 * gives the slices that followed it.
 */
export async function* cutSlices(sources: readonly Source[], options: SliceOptions): AsyncGenerator<Slice> {
  const {
    size,
    travels = () => "inline",
    idName = () => undefined,
    limit = Number.POSITIVE_INFINITY,
    sample,
  } = options;
  const from = options.from ?? { slice: 0, input: 0, items: 0, cursor: { record: 0 } };
  const open = new OpenSlice(from, size, limit);
  for (let input = from.input; input < sources.length && !open.isOver; input++) {
    const source = sources[input]!;
    const name = idName(input);
    const cursor = input === from.input ? from.cursor : { record: 0 };
    if (travels(input) === "split" && source.splitter) {
      for await (const { split, bytes, next, passedOver } of source.splitter.cuts(cursor, () => open.room(), sample)) {
        yield* open.before("split", bytes, split.selected ?? split.count);
        open.addSplit(name === undefined ? split : { ...split, idName: name }, bytes, { input, cursor: next });
        if (passedOver) open.passedOver({ input, report: passedOver });
        if (open.isOver) break;
      }
      continue;
    }
    if (source.onlySplits) {
      const message = `the items of ${source.input.uri} cannot be part of a job: expected workers that can read the input`;
      throw new LabelmillError("USAGE", message);
    }
    const isItem = (record: number) => sample === undefined || isSampled(source.input.uri, record, sample);
    for await (const record of source.records(name)) {
      if (record.record < cursor.record) continue;
      const place = { input, cursor: { record: record.record + 1 } };
      if (record.skipped || !isItem(record.record)) {
        open.pass(place, record.record);
        continue;
      }
      const bytes = Buffer.byteLength(JSON.stringify(record)) + SOURCE_BYTES;
      yield* open.before("inline", bytes, 1);
      open.addItem(record, source.input.uri, bytes, place);
      if (open.isOver) break;
    }
  }
  yield* open.rest();
}

type InputPosition = Omit<Place, "slice" | "items">;

/** The slice that is being filled. */
class OpenSlice {
  readonly #size: SliceOptions["size"];
  readonly #limit: number;
  #next: Place;
  #kind: "split" | "inline" = "inline";
  #count = 0;
  #bytes = 0;
  #ranges: Range[] = [];
  #items: Item[] = [];
  #splits: Split[] = [];
  #sources: string[] = [];
  #passedOver: PassedOverIn[] = [];
  /** The index of the input of the last source. */
  #sourceOf = -1;

  constructor(from: Place, size: SliceOptions["size"], limit: number) {
    this.#next = from;
    this.#size = size;
    this.#limit = limit;
  }

  /** The run has reached its limit of items. */
  get isOver(): boolean {
    return this.#next.items >= this.#limit;
  }

  room(): CutSize {
    const items = Math.min(this.#size.items - this.#count, this.#limit - this.#next.items);
    const bytes = this.#size.bytes - this.#bytes;
    if (items > 0 && bytes > 0 && this.#splits.length < MAX_SLICE_SPLITS && this.#kind === "split")
      return { items, bytes };
    // The next cut goes into a new slice.
    return { items: Math.min(this.#size.items, this.#limit - this.#next.items), bytes: this.#size.bytes };
  }

  /** Yields the slice if the next content does not fit into it. */
  *before(kind: "split" | "inline", bytes: number, count: number): Generator<Slice> {
    if (count === 0) return;
    const { items, bytes: splitBytes, inlineBytes = splitBytes } = this.#size;
    const most = kind === "split" ? splitBytes : inlineBytes;
    const fits = this.#count + count <= items && this.#bytes + bytes <= most && this.#splits.length < MAX_SLICE_SPLITS;
    if (this.#count > 0 && (kind !== this.#kind || !fits)) yield* this.rest();
    this.#kind = kind;
  }

  addSplit(split: Split, bytes: number, place: InputPosition): void {
    const { first, count, selected = count } = split;
    // A split without items does not have to be read.
    if (selected > 0) this.#splits.push(split);
    this.#add(
      { input: place.input, first, count, ...(selected === count ? {} : { selected }) },
      selected,
      bytes,
      place,
    );
  }

  addItem(record: Omit<Item, "source"> & { skipped?: true }, uri: string, bytes: number, place: InputPosition): void {
    if (this.#sources.length === 0 || this.#sourceOf !== place.input) this.#sources.push(uri);
    this.#sourceOf = place.input;
    this.#items.push({ ...record, source: this.#sources.length - 1 });
    this.#extend(record.record, 1, place);
    this.#add(undefined, 1, bytes, place);
  }

  /** Adds a report to the slice to which the input was just added. */
  passedOver(found: PassedOverIn): void {
    this.#passedOver.push(found);
  }

  /** Adds a record that is not an item. */
  pass(place: InputPosition, record: number): void {
    this.#extend(record, 0, place);
    this.#add(undefined, 0, 0, place);
  }

  *rest(): Generator<Slice> {
    if (this.#count === 0) return;
    const slice = {
      ...{ slice: this.#next.slice, ranges: this.#ranges, count: this.#count },
      ...(this.#passedOver.length > 0 ? { passedOver: this.#passedOver } : {}),
    };
    const next = { ...this.#next, slice: this.#next.slice + 1 };
    const content = this.#kind === "split" ? { splits: this.#splits } : { sources: this.#sources, items: this.#items };
    this.#next = next;
    [this.#count, this.#bytes] = [0, 0];
    [this.#ranges, this.#items, this.#splits, this.#sources, this.#passedOver] = [[], [], [], [], []];
    yield { ...slice, ...content, next };
  }

  #add(range: Range | undefined, count: number, bytes: number, { input, cursor }: InputPosition): void {
    if (range) this.#ranges.push(range);
    this.#count += count;
    this.#bytes += bytes;
    this.#next = { slice: this.#next.slice, input, items: this.#next.items + count, cursor };
  }

  #extend(record: number, selected: number, { input }: InputPosition): void {
    const last = this.#ranges.at(-1);
    if (last?.input !== input || last.first + last.count !== record) {
      this.#ranges.push({ input, first: record, count: 1, ...(selected === 1 ? {} : { selected: 0 }) });
      return;
    }
    const before = last.selected ?? last.count;
    last.count += 1;
    if (before + selected === last.count) delete last.selected;
    else last.selected = before + selected;
  }
}
