import { Piscina } from "piscina";
import type { OutputOptions } from "../schemas/output.ts";
import { encodeDataFile } from "./data-file.ts";
import type { EncodeOrder } from "./encode-thread.ts";
import type { KeptColumn } from "./kept-columns.ts";

const THREAD = new URL(import.meta.url.endsWith(".ts") ? "./encode-thread.ts" : "./encode-thread.js", import.meta.url);
/** An idle thread ends soon, because files are made only at the ends of runs. */
const IDLE_MS = 5000;

/** Encodes output files. Parquet takes seconds, so it is encoded in threads, not on the thread that serves Redis. */
export class FileEncoder {
  #pool: Piscina | undefined;

  /** Like `encodeDataFile`. The pieces may be transferred to a thread, so the caller must not use them again. */
  async encode(pieces: readonly Uint8Array[], output: OutputOptions, kept: readonly KeptColumn[]): Promise<Uint8Array> {
    if (output.format !== "parquet") return encodeDataFile(pieces, output, kept);
    this.#pool ??= new Piscina({
      filename: THREAD.href,
      name: "encode",
      minThreads: 0,
      maxThreads: 2,
      idleTimeout: IDLE_MS,
    });
    // A piece that shares its memory with others cannot be transferred: it is copied.
    const whole = pieces.filter(({ byteLength, buffer }) => byteLength === buffer.byteLength);
    const transferList = [...new Set(whole.map(({ buffer }) => buffer as ArrayBuffer))];
    return this.#pool.run({ pieces, output, kept } satisfies EncodeOrder, { transferList });
  }

  /** Ends the threads. The caller must first wait for all calls of `encode`. */
  async close(): Promise<void> {
    await this.#pool?.close();
  }
}
