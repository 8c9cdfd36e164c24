import { Piscina } from "piscina";
import { abortable } from "../../abortable.ts";
import { type ErrorCode, LabelmillError } from "../../errors.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { Lane } from "../../schemas/names.ts";
import { LanePermits } from "./lane-permits.ts";
import type { PrepareAnswer, PrepareTask } from "./prepare-thread.ts";
import { type Chunk, chunksOf, joinChunks } from "./text/chunks.ts";
import { newProgress, type Progress, TextWatchdog, type TimeLimits } from "./text/text-watchdog.ts";
import type { EncodedTexts } from "./text/tokenizer.ts";

const THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./prepare-thread.ts" : "./prepare-thread.js",
  import.meta.url,
);

/** CPU time limit for one text, in ms. Ordinary texts take well under one. */
const TEXT_MS = 10_000;
/** CPU time limit for loading a tokenizer, in ms. One with a vocabulary of 250,000 words takes about three seconds. */
const LOAD_MS = 60_000;
/** The most texts of one run that may exceed the time limit. One more fails the run. */
const MAX_TIMEOUTS = 20;
/** The most runs whose timeouts are counted at a time. */
const MAX_RUNS = 1_000;

export type PrepareOptions = {
  modelDir: string;
  threads: number;
  /** CPU time limit for one text, in ms. Default: TEXT_MS. */
  textMs?: number | undefined;
  /** CPU time limit for loading the tokenizer, in ms. Default: LOAD_MS. */
  loadMs?: number | undefined;
};

export type TokenizeOptions = {
  /** The run of the texts. Timeouts are counted for each run. */
  run?: string;
  signal?: AbortSignal;
  /** Default: bulk. */
  lane?: Lane;
};

/** The outcome of a chunk: its tokens, or the index and the error of the text that failed. */
type Outcome = { chunk: Chunk } | { failedAt: number; error: ItemError };

/**
 * Threads that tokenize, so that the main thread, which handles Redis, never does. A slice is sent to them in chunks, one for each thread
 * at a time, so that a single text does not wait for a whole slice. While interactive texts keep coming, bulk texts leave one thread to
 * them. A text on which the tokenizer does not end (regular expressions of
 * a model can cause that) gets an error row, and its thread is terminated. That is safe: these threads never have an ONNX session.
 */
export class PreparePool {
  readonly #pool: Piscina;
  readonly #threads: number;
  readonly #modelDir: string;
  readonly #limits: TimeLimits;
  /** Calls in progress: piscina's `close()` would terminate threads while they run. */
  readonly #running = new Set<Promise<unknown>>();
  /** The progress memory of each thread. */
  readonly #permits: LanePermits<Progress>;
  /** Timeouts by run. The run with the earliest first timeout comes first. */
  readonly #timeouts = new Map<string, number>();
  #invalid: LabelmillError | undefined;
  #closed: Promise<void> | undefined;

  private constructor(pool: Piscina, { modelDir, threads, textMs = TEXT_MS, loadMs = LOAD_MS }: PrepareOptions) {
    this.#pool = pool;
    this.#threads = threads;
    this.#modelDir = modelDir;
    this.#limits = { textMs, loadMs };
    this.#permits = new LanePermits(Array.from({ length: threads }, newProgress));
  }

  /** Starts the threads. Throws MODEL_INVALID if the tokenizer in `modelDir` cannot be loaded. */
  static async start(options: PrepareOptions): Promise<PreparePool> {
    const { modelDir, threads } = options;
    const piscina = { filename: THREAD.href, name: "tokenize", minThreads: threads, maxThreads: threads };
    const pool = new PreparePool(new Piscina({ ...piscina, workerData: { modelDir } }), options);
    try {
      // One call for each thread, so that all have loaded the tokenizer before the first slice.
      await Promise.all(Array.from({ length: threads }, () => pool.tokenize([])));
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /**
   * The token ids of a slice's texts, in their order. A text that cannot be encoded has no ids and an error: TEXT_TIMEOUT or ITEM_FAILED.
   * Throws MODEL_INVALID after too many timeouts in the run, the signal's reason if it aborts, and ABORTED once closed.
   */
  async tokenize(texts: readonly string[], options: TokenizeOptions = {}): Promise<Chunk> {
    if (this.#closed) throw new LabelmillError("ABORTED", "expected an open tokenizer pool, got one that is closed");
    const running = this.#inChunks(texts, options);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #inChunks(texts: readonly string[], options: TokenizeOptions): Promise<Chunk> {
    const chunks = [...chunksOf(texts)];
    const rest = chunks.entries();
    const encoded: Chunk[] = [];
    const lane = async () => {
      for (const [at, chunk] of rest) encoded[at] = await this.#encode(chunk, options);
    };
    const lanes = await Promise.allSettled(Array.from({ length: Math.min(this.#threads, chunks.length) }, lane));
    const failed = lanes.find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
    return joinChunks(encoded);
  }

  /** Encodes a chunk. If a text fails, the texts before it and after it are encoded again, without it. */
  async #encode(texts: readonly string[], options: TokenizeOptions): Promise<Chunk> {
    const done: Chunk[] = [];
    for (let rest = texts; ; ) {
      const work = this.#onThread(rest, options);
      // After an abort the thread continues, within the limit of a text, but no caller waits for it.
      const outcome = await (options.signal ? abortable(work, options.signal) : work);
      if ("chunk" in outcome) return joinChunks([...done, outcome.chunk]);
      const { failedAt, error } = outcome;
      if (failedAt > 0) done.push(await this.#encode(rest.slice(0, failedAt), options));
      done.push(failedText(error));
      rest = rest.slice(failedAt + 1);
      if (rest.length === 0) return joinChunks(done);
    }
  }

  async #onThread(texts: readonly string[], { run = "", signal, lane = "bulk" }: TokenizeOptions): Promise<Outcome> {
    const progress = await this.#permits.take(lane);
    try {
      if (this.#invalid) throw this.#invalid;
      this.#checkTimeouts(run);
      signal?.throwIfAborted();
      return await this.#limited(texts, run, progress);
    } finally {
      this.#permits.giveBack(progress, lane);
    }
  }

  async #limited(texts: readonly string[], run: string, progress: Progress): Promise<Outcome> {
    using watchdog = new TextWatchdog(progress, this.#limits, () => this.#pool.threads);
    const task: PrepareTask = { texts, progress };
    let answer: PrepareAnswer;
    try {
      answer = await this.#pool.run(task, { signal: watchdog.exceeded });
    } catch (error) {
      if (!watchdog.exceeded.aborted) throw error;
      return this.#timedOut(watchdog.exceededAt, run);
    }
    if ("encoded" in answer) return { chunk: { ...answer.encoded, errors: new Map() } };
    const { failedAt, error } = answer;
    if (failedAt === undefined) throw new LabelmillError(error.code, error.message);
    return { failedAt, error: textError("ITEM_FAILED", `the tokenizer failed on this text: ${error.message}`) };
  }

  /** @param failedAt index of the text; undefined if the tokenizer was still loading */
  #timedOut(failedAt: number | undefined, run: string): Outcome {
    if (failedAt === undefined) {
      const problem = `expected a tokenizer that loads within ${this.#limits.loadMs / 1000} s of CPU time, got one that takes longer`;
      this.#invalid = this.#tokenizerInvalid(problem);
      throw this.#invalid;
    }
    this.#timeouts.set(run, (this.#timeouts.get(run) ?? 0) + 1);
    if (this.#timeouts.size > MAX_RUNS) this.#timeouts.delete(this.#timeouts.keys().next().value!);
    this.#checkTimeouts(run);
    const seconds = this.#limits.textMs / 1000;
    const message = `expected the tokenizer to encode this text within ${seconds} s of CPU time, got no result: shorten the text, or correct the regular expressions in the model's tokenizer.json`;
    return { failedAt, error: textError("TEXT_TIMEOUT", message) };
  }

  /** @throws LabelmillError MODEL_INVALID */
  #checkTimeouts(run: string): void {
    const count = this.#timeouts.get(run) ?? 0;
    if (count <= MAX_TIMEOUTS) return;
    const seconds = this.#limits.textMs / 1000;
    throw this.#tokenizerInvalid(
      `expected each text of a run to be encoded within ${seconds} s of CPU time, got ${count} that take longer: remove them from the input, or check its regular expressions for nested quantifiers`,
    );
  }

  #tokenizerInvalid(problem: string): LabelmillError {
    return new LabelmillError("MODEL_INVALID", `${this.#modelDir}/tokenizer.json: ${problem}`);
  }

  /** Waits for calls in progress, except aborted ones, then ends the threads. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() =>
      // `close()` would wait for the threads of aborted calls.
      this.#permits.idle < this.#threads ? this.#pool.destroy() : this.#pool.close(),
    );
    return this.#closed;
  }
}

/**
 * Encodes one text in a temporary thread, so that a broken tokenizer cannot block the caller.
 * @throws LabelmillError MODEL_INVALID
 */
export async function encodeOnce(modelDir: string, text: string): Promise<EncodedTexts> {
  const pool = await PreparePool.start({ modelDir, threads: 1 });
  try {
    const { errors, ...encoded } = await pool.tokenize([text]);
    for (const { message } of errors.values())
      throw new LabelmillError("MODEL_INVALID", `${modelDir}/tokenizer.json: ${message}`);
    return encoded;
  } finally {
    await pool.close();
  }
}

/** The result of a text without tokens. */
function failedText(error: ItemError): Chunk {
  return {
    ids: new Int32Array(0),
    offsets: new Uint32Array(2),
    truncated: new Uint8Array(1),
    errors: new Map([[0, error]]),
  };
}

function textError(code: ErrorCode, message: string): ItemError {
  return { code, message: message.slice(0, 4096) };
}
