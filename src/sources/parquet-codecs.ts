import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { Compressors } from "hyparquet";
import { compressors as foreign } from "hyparquet-compressors";

/** The largest page, unpacked: what a page says of its size is not to be believed. */
const MAX_PAGE_BYTES = 256 << 20;

/** The codecs that are read. Those of Node's own are native, and stop at the size that the page says. */
export const COMPRESSORS: Compressors = {
  SNAPPY: (page, length) => foreign.SNAPPY!(page, bounded(length)),
  GZIP: (page, length) => gunzipSync(page, { maxOutputLength: bounded(length) }),
  BROTLI: (page, length) => brotliDecompressSync(page, { maxOutputLength: bounded(length) }),
  ZSTD: (page, length) => zstdDecompressSync(page, { maxOutputLength: bounded(length) }),
  LZ4: (page, length) => foreign.LZ4!(page, bounded(length)),
  LZ4_RAW: (page, length) => foreign.LZ4_RAW!(page, bounded(length)),
};

function bounded(length: number): number {
  if (length >= 0 && length <= MAX_PAGE_BYTES) return Math.max(length, 1);
  throw new Error(`expected a page of at most ${MAX_PAGE_BYTES} bytes, it has ${length}`);
}
