import { promisify } from "node:util";
import { gunzip, gzip, zstdCompress, zstdDecompress } from "node:zlib";
import type { Compression } from "../schemas/output.ts";

type Codec = {
  compress: (bytes: Uint8Array) => Promise<Uint8Array>;
  decompress: (bytes: Uint8Array) => Promise<Uint8Array>;
};

/** How each compression of JSON lines is done. */
export const CODECS: Record<Compression, Codec> = {
  none: { compress: async (bytes) => bytes, decompress: async (bytes) => bytes },
  gzip: { compress: promisify<Uint8Array, Uint8Array>(gzip), decompress: promisify<Uint8Array, Uint8Array>(gunzip) },
  zstd: {
    compress: promisify<Uint8Array, Uint8Array>(zstdCompress),
    decompress: promisify<Uint8Array, Uint8Array>(zstdDecompress),
  },
};
