import type { Range } from "../../schemas/manifest.ts";
import type { Split } from "../../schemas/split.ts";
import type { Slice } from "../../sources/slices.ts";

/** Numbers of the records in error, by the URI of their input. */
export type ErrorPositions = ReadonlyMap<string, ReadonlySet<number>>;

/**
 * The slices of a run, with only the rows that were in error. A slice without such rows is dropped. Its ranges, with no item selected, are
 * added to the next slice, or to the last one. So the ranges cover the inputs without gaps, as those of the run do.
 * @param uris of the run's inputs
 * @param errorsOf which rows of a slice of the run are in error
 */
export async function* retrySlices(
  slices: AsyncIterable<Slice>,
  uris: readonly string[],
  errorsOf: (slice: number) => Promise<ErrorPositions>,
): AsyncGenerator<Slice> {
  let number = 0;
  let items = 0;
  let dropped: Range[] = [];
  let ready: Slice | undefined;
  for await (const slice of slices) {
    const errors = await errorsOf(slice.slice);
    const isError = (uri: string, record: number) => errors.get(uri)?.has(record) === true;
    const ranges = slice.ranges.map(({ input, first, count }): Range => {
      const selected = recordsIn(errors.get(uris[input]!), first, count).length;
      return { input, first, count, ...(selected === count ? {} : { selected }) };
    });
    const count = ranges.reduce((sum, range) => sum + (range.selected ?? range.count), 0);
    if (count === 0) {
      dropped.push(...ranges);
      continue;
    }
    if (ready) yield ready;
    items += count;
    ready = {
      ...contentOf(slice, errors, isError),
      slice: number,
      ranges: [...dropped, ...ranges],
      count,
      next: { ...slice.next, slice: ++number, items },
    };
    dropped = [];
  }
  if (ready) yield { ...ready, ranges: [...ready.ranges, ...dropped] };
}

function contentOf(
  slice: Slice,
  errors: ErrorPositions,
  isError: (uri: string, record: number) => boolean,
):
  | Pick<Slice & { splits: Split[] }, "splits">
  | Pick<Slice & { items: NonNullable<Slice["items"]> }, "sources" | "items"> {
  if (!slice.splits) {
    const items = slice.items.filter((item) => isError(slice.sources[item.source]!, item.record));
    return { sources: slice.sources, items };
  }
  const splits = slice.splits.flatMap((split) => {
    const only = recordsIn(errors.get(split.input.uri), split.first, split.count);
    return only.length === 0 ? [] : [{ ...split, only, selected: only.length }];
  });
  return { splits };
}

/** The records within a range, in order. */
function recordsIn(records: ReadonlySet<number> | undefined, first: number, count: number): number[] {
  return [...(records ?? [])].filter((record) => record >= first && record < first + count).sort((a, b) => a - b);
}
