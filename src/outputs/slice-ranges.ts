import type { SliceRange } from "../runs/compactions.ts";
import type { SliceRecord } from "../runs/ledger/slices.ts";

const DEFAULT_TARGET_BYTES = 128_000_000;

/**
 * Divides committed slices into consecutive ranges, each with parts of at least `targetBytes` bytes; the last may have
 * fewer. The parts of a range are combined into one file, or one in each folder.
 * @param targetBytes null: 128 MB
 */
export async function* sliceRanges(
  slices: AsyncIterable<Pick<SliceRecord, "slice" | "receipt">>,
  targetBytes: number | null,
): AsyncGenerator<SliceRange> {
  let range = 0;
  let first = 0;
  let last = -1;
  let bytes = 0;
  for await (const { slice, receipt } of slices) {
    last = slice;
    bytes += receipt?.bytes ?? 0;
    if (bytes < (targetBytes ?? DEFAULT_TARGET_BYTES)) continue;
    yield { range, first, last };
    range += 1;
    first = slice + 1;
    bytes = 0;
  }
  if (first <= last) yield { range, first, last };
}
