import type { Item } from "../schemas/item.ts";
import type { Range } from "../schemas/manifest.ts";
import type { Source } from "./source.ts";

/** What one job carries: its items, the URIs that their `source` counts, and where they lie in the run's inputs. */
export type Slice = { slice: number; sources: string[]; items: Item[]; ranges: Range[] };

/** What `"source":12345` and a comma between two items add to a record's JSON, at most. */
const SOURCE_BYTES = 16;

/**
 * Cuts the records of all sources, in order, into slices of at most `items` items and `bytes` bytes of their JSON, whichever comes
 * first; an item over `bytes` is a slice alone. A slice may span sources. The same sources and sizes give the same slices.
 */
export async function* cutSlices(
  sources: readonly Source[],
  size: { items: number; bytes: number },
): AsyncGenerator<Slice> {
  let slice: Slice = { slice: 0, sources: [], items: [], ranges: [] };
  let bytes = 0;
  for (const [input, source] of sources.entries()) {
    // Where the source's URI stands in the slice, once it is there.
    let place = -1;
    for await (const record of source.records()) {
      const cost = Buffer.byteLength(JSON.stringify(record)) + SOURCE_BYTES;
      if (slice.items.length > 0 && (slice.items.length >= size.items || bytes + cost > size.bytes)) {
        yield slice;
        slice = { slice: slice.slice + 1, sources: [], items: [], ranges: [] };
        bytes = 0;
        place = -1;
      }
      if (place === -1) place = slice.sources.push(source.input.uri) - 1;
      slice.items.push({ ...record, source: place });
      bytes += cost;
      const last = slice.ranges.at(-1);
      if (last?.input === input && last.first + last.count === record.record) last.count++;
      else slice.ranges.push({ input, first: record.record, count: 1 });
    }
  }
  if (slice.items.length > 0) yield slice;
}
