import { setImmediate as turn } from "node:timers/promises";
import type { BatchBuffers } from "./buffers.ts";
import type { ColumnLayout } from "./layout.ts";
import { INLINE_BYTES, type Load, loadValidity, VIEW_BYTES } from "./load-column.ts";

/** Views that are read at once. */
const CHUNK_VIEWS = 1 << 19;

/**
 * Bytes that the values of a column of views take beyond its buffers. Views may share bytes. If they refer to more bytes than are stored, each
 * value counts as the longest: how the sharing is distributed over the rows is unknown.
 * @throws Error or LabelmillError if the file is corrupt
 */
export async function sharedBytes(column: ColumnLayout, buffers: BatchBuffers): Promise<number> {
  let stored = 0;
  for (const index of column.buffers.slice(2)) stored += await buffers.size(index);
  let [referenced, longest] = [0, 0];
  for (let from = 0; from < column.length; from += CHUNK_VIEWS) {
    const to = Math.min(from + CHUNK_VIEWS, column.length);
    const load: Load = { buffers, dictionary: noDictionary, limit: Number.POSITIVE_INFINITY, loaded: 0, columns: 0 };
    const isValid = await loadValidity(column, from, to, load);
    const views = await buffers.bytes(column.buffers[1]!, from * VIEW_BYTES, to * VIEW_BYTES);
    for (let index = 0; index < to - from; index++) {
      const length = views.readInt32LE(index * VIEW_BYTES);
      if (length <= INLINE_BYTES || isValid?.(index) === false) continue;
      referenced += length;
      longest = Math.max(longest, length);
    }
    await turn();
  }
  return referenced > stored ? column.length * longest : 0;
}

function noDictionary(): never {
  throw new Error("views have no dictionary");
}
