import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { Compressors } from "hyparquet";
import { compressors as foreign } from "hyparquet-compressors";

/** The largest uncompressed page: the size that a page states is not trusted. */
const MAX_PAGE_BYTES = 256 << 20;

type Decompress = (page: Uint8Array, length: number) => Uint8Array;

/** The supported codecs. Those of Node are native and stop at the size that the page states. */
export const COMPRESSORS: Compressors = {
  SNAPPY: bounded(foreign.SNAPPY!),
  GZIP: bounded((page, maxOutputLength) => gunzipSync(page, { maxOutputLength })),
  BROTLI: bounded((page, maxOutputLength) => brotliDecompressSync(page, { maxOutputLength })),
  ZSTD: bounded((page, maxOutputLength) => zstdDecompressSync(page, { maxOutputLength })),
  LZ4: bounded(foreign.LZ4!),
  LZ4_RAW: bounded(foreign.LZ4_RAW!),
};

function bounded(decompress: Decompress): Decompress {
  return (page, length) => {
    if (!(length >= 0 && length <= MAX_PAGE_BYTES))
      throw new Error(`expected a page of at most ${MAX_PAGE_BYTES} bytes, got ${length}`);
    // The dictionary of a column of nulls is empty. Not every codec can represent empty data.
    return length === 0 ? new Uint8Array() : decompress(page, length);
  };
}
