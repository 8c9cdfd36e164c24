import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { Compressors } from "hyparquet";
import { compressors as foreign } from "hyparquet-compressors";

/** The largest page, unpacked: what a page says of its size is not to be believed. */
const MAX_PAGE_BYTES = 256 << 20;

type Unpack = (page: Uint8Array, length: number) => Uint8Array;

/** The codecs that are read. Those of Node's own are native, and stop at the size that the page says. */
export const COMPRESSORS: Compressors = {
  SNAPPY: bounded(foreign.SNAPPY!),
  GZIP: bounded((page, maxOutputLength) => gunzipSync(page, { maxOutputLength })),
  BROTLI: bounded((page, maxOutputLength) => brotliDecompressSync(page, { maxOutputLength })),
  ZSTD: bounded((page, maxOutputLength) => zstdDecompressSync(page, { maxOutputLength })),
  LZ4: bounded(foreign.LZ4!),
  LZ4_RAW: bounded(foreign.LZ4_RAW!),
};

function bounded(unpack: Unpack): Unpack {
  return (page, length) => {
    if (!(length >= 0 && length <= MAX_PAGE_BYTES))
      throw new Error(`expected a page of at most ${MAX_PAGE_BYTES} bytes, it has ${length}`);
    // The dictionary of a column of nulls: not every codec has a form of nothing.
    return length === 0 ? new Uint8Array() : unpack(page, length);
  };
}
