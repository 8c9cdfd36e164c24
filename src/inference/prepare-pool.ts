import { Piscina } from "piscina";
import { LabelmillError } from "../errors.ts";
import type { PrepareAnswer } from "./prepare-thread.ts";
import type { EncodedTexts } from "./tokenizer.ts";

const THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./prepare-thread.ts" : "./prepare-thread.js",
  import.meta.url,
);

/** The most texts of a message to a thread, and, but for one alone, UTF-16 units of them: 50 ms, about. */
const PIECE = { texts: 500, chars: 100_000 };

/**
 * Threads that tokenize, so that the thread that talks to Redis never does. A slice goes to them in pieces, one a thread at a time: a
 * single text is not to wait for the thousands of a slice.
 */
export class PreparePool {
  readonly #pool: Piscina;
  readonly #threads: number;
  /** What was asked and not yet answered: piscina's `close()` would end threads that are at work. */
  readonly #running = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  private constructor(pool: Piscina, threads: number) {
    this.#pool = pool;
    this.#threads = threads;
  }

  /** `threads` threads for the tokenizer in `modelDir`; throws MODEL_INVALID if it cannot be loaded. */
  static async start({ modelDir, threads }: { modelDir: string; threads: number }): Promise<PreparePool> {
    const options = { filename: THREAD.href, name: "tokenize", minThreads: threads, maxThreads: threads };
    const pool = new PreparePool(new Piscina({ ...options, workerData: { modelDir } }), threads);
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
    const running = this.#inPieces(texts);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #inPieces(texts: readonly string[]): Promise<EncodedTexts> {
    const pieces = [...piecesOf(texts)];
    const rest = pieces.entries();
    const encoded: EncodedTexts[] = [];
    const lane = async () => {
      for (const [at, piece] of rest) encoded[at] = await this.#encode(piece);
    };
    const lanes = await Promise.allSettled(Array.from({ length: Math.min(this.#threads, pieces.length) }, lane));
    const failed = lanes.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
    return encoded.length === 1 ? encoded[0]! : joined(encoded);
  }

  async #encode(texts: readonly string[]): Promise<EncodedTexts> {
    const answer: PrepareAnswer = await this.#pool.run(texts);
    if ("error" in answer) throw new LabelmillError(answer.error.code, answer.error.message);
    return answer.encoded;
  }

  /** Lets what was asked be answered, then ends the threads. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() => this.#pool.close());
    return this.#closed;
  }
}

/** At least one piece, be it empty. */
function* piecesOf(texts: readonly string[]): Generator<readonly string[]> {
  let first = 0;
  let chars = 0;
  for (const [at, text] of texts.entries()) {
    if (at > first && (at - first === PIECE.texts || chars + text.length > PIECE.chars)) {
      yield texts.slice(first, at);
      first = at;
      chars = 0;
    }
    chars += text.length;
  }
  yield first === 0 ? texts : texts.slice(first);
}

function joined(pieces: readonly EncodedTexts[]): EncodedTexts {
  const texts = pieces.reduce((sum, { truncated }) => sum + truncated.length, 0);
  const ids = new Int32Array(pieces.reduce((sum, piece) => sum + piece.ids.length, 0));
  const offsets = new Uint32Array(texts + 1);
  const truncated = new Uint8Array(texts);
  let [text, token] = [0, 0];
  for (const piece of pieces) {
    ids.set(piece.ids, token);
    truncated.set(piece.truncated, text);
    for (let i = 0; i < piece.truncated.length; i++) offsets[text + i] = token + piece.offsets[i]!;
    text += piece.truncated.length;
    token += piece.ids.length;
  }
  offsets[texts] = token;
  return { ids, offsets, truncated };
}
