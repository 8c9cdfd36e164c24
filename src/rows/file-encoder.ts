import { Piscina } from "piscina";
import type { OutputOptions } from "../schemas/output.ts";
import { encodeDataFile } from "./data-file.ts";
import type { EncodeOrder } from "./encode-thread.ts";
import type { KeptColumn } from "./kept-columns.ts";

const THREAD = new URL(import.meta.url.endsWith(".ts") ? "./encode-thread.ts" : "./encode-thread.js", import.meta.url);
/** Files are made at the ends of runs: nobody waits for a thread in between. */
const IDLE_MS = 5000;

/** Makes output files; Parquet, whose encoding holds a thread for seconds, not on the one that talks to Redis. */
export class FileEncoder {
  #pool: Piscina | undefined;

  /** As `encodeFile`. The pieces may be taken away: they are not to be used again. */
  async encode(pieces: readonly Uint8Array[], output: OutputOptions, kept: readonly KeptColumn[]): Promise<Uint8Array> {
    if (output.format !== "parquet") return encodeDataFile(pieces, output, kept);
    this.#pool ??= new Piscina({
      filename: THREAD.href,
      name: "encode",
      minThreads: 0,
      maxThreads: 2,
      idleTimeout: IDLE_MS,
    });
    // One that shares its memory with others is copied.
    const whole = pieces.filter(({ byteLength, buffer }) => byteLength === buffer.byteLength);
    const transferList = [...new Set(whole.map(({ buffer }) => buffer as ArrayBuffer))];
    return this.#pool.run({ pieces, output, kept } satisfies EncodeOrder, { transferList });
  }

  /** Ends the threads. What they are at is not waited for: who asked for it must have ended before. */
  async close(): Promise<void> {
    await this.#pool?.close();
  }
}
