import { Piscina } from "piscina";
import { LabelmillError } from "../errors.ts";
import type { PrepareAnswer } from "./prepare-thread.ts";
import type { EncodedTexts } from "./tokenizer.ts";

const THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./prepare-thread.ts" : "./prepare-thread.js",
  import.meta.url,
);

/** Threads that tokenize, so that the thread that talks to Redis never does. One message per slice. */
export class PreparePool {
  readonly #pool: Piscina;
  /** What was asked and not yet answered: piscina's `close()` would end threads that are at work. */
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  private constructor(pool: Piscina) {
    this.#pool = pool;
  }

  /** `threads` threads for the tokenizer in `modelDir`; throws MODEL_INVALID if it cannot be loaded. */
  static async start({ modelDir, threads }: { modelDir: string; threads: number }): Promise<PreparePool> {
    const options = { filename: THREAD.href, name: "tokenize", minThreads: threads, maxThreads: threads };
    const pool = new PreparePool(new Piscina({ ...options, workerData: { modelDir } }));
    try {
      // As many at once as there are threads, so that each has its tokenizer before the first slice comes.
      await Promise.all(Array.from({ length: threads }, () => pool.tokenize([])));
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /** The token ids of a slice's texts, in their order. Throws the thread's LabelmillError, and ABORTED once closed. */
  async tokenize(texts: readonly string[]): Promise<EncodedTexts> {
    if (this.#closed) throw new LabelmillError("ABORTED", "the tokenizer's threads are closed");
    const running: Promise<PrepareAnswer> = this.#pool.run(texts);
    this.#running.add(running);
    try {
      const answer = await running;
      if ("error" in answer) throw new LabelmillError(answer.error.code, answer.error.message);
      return answer.encoded;
    } finally {
      this.#running.delete(running);
    }
  }

  /** Lets what was asked be answered, then ends the threads. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() => this.#pool.close());
    return this.#closed;
  }
}
