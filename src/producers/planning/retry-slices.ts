import type { Range } from "../../schemas/manifest.ts";
import type { Split } from "../../schemas/split.ts";
import type { Slice } from "../../sources/slices.ts";

/** Numbers of the records in error, by the URI of their input. */
export type ErrorPositions = ReadonlyMap<string, ReadonlySet<number>>;

/**
 * The slices of a run once more, with nothing in them but the rows that were in error. What holds none is no slice of its own: its ranges,
 * of which nothing is an item, go with those of the next, or of the last, so that the ranges tile the inputs as those of the run do.
 * @param uris of the run's inputs
 * @param errorsOf a slice of the run: which of its rows are in error
 */
export async function* retrySlices(
  slices: AsyncIterable<Slice>,
  uris: readonly string[],
  errorsOf: (slice: number) => Promise<ErrorPositions>,
): AsyncGenerator<Slice> {
  let number = 0;
  let items = 0;
  let passed: Range[] = [];
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
      passed.push(...ranges);
      continue;
    }
    if (ready) yield ready;
    items += count;
    ready = {
      ...contentOf(slice, errors, isError),
      slice: number,
      ranges: [...passed, ...ranges],
      count,
      next: { ...slice.next, slice: ++number, items },
    };
    passed = [];
  }
  if (ready) yield { ...ready, ranges: [...ready.ranges, ...passed] };
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

/** Those of the records that lie in a range, in order. */
function recordsIn(records: ReadonlySet<number> | undefined, first: number, count: number): number[] {
  return [...(records ?? [])].filter((record) => record >= first && record < first + count).sort((a, b) => a - b);
}
