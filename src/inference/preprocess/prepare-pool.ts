import { Piscina } from "piscina";
import { abortable } from "../../abortable.ts";
import { type ErrorCode, LabelmillError } from "../../errors.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { PrepareAnswer, PrepareTask } from "./prepare-thread.ts";
import { type Chunk, chunksOf, joinChunks } from "./text/chunks.ts";
import { newProgress, type Progress, TextWatchdog, type TimeLimits } from "./text/text-watchdog.ts";
import type { EncodedTexts } from "./text/tokenizer.ts";

const THREAD = new URL(
  import.meta.url.endsWith(".ts") ? "./prepare-thread.ts" : "./prepare-thread.js",
  import.meta.url,
);

/** Processor time that a thread may spend on one text, in ms. An ordinary text takes well under one. */
const TEXT_MS = 10_000;
/** Processor time in which a tokenizer has to load, in ms. One with a vocabulary of 250,000 words takes about three seconds. */
const LOAD_MS = 60_000;
/** Texts of one run that may exceed their time. One more fails the run. */
const MOST_TIMEOUTS = 20;
/** Runs whose timeouts are counted at a time. */
const MOST_RUNS = 1_000;

export type PrepareOptions = {
  modelDir: string;
  threads: number;
  /** Processor time for one text, in ms. */
  textMs?: number | undefined;
  /** Processor time for loading the tokenizer, in ms. */
  loadMs?: number | undefined;
};

export type TokenizeOptions = {
  /** The run that the texts belong to: texts that exceed their time count for it alone. */
  run?: string;
  signal?: AbortSignal;
};

/** What became of a chunk: its tokens, or the text on which it failed and why. */
type Outcome = { chunk: Chunk } | { failedAt: number; error: ItemError };

/**
 * Threads that tokenize, so that the thread that talks to Redis never does. A slice goes to them in chunks, one a thread at a time: a
 * single text is not to wait for the thousands of a slice. A text on which the tokenizer spins (a model's regular expressions
 * can) costs its own row: its thread is ended, which is safe because no thread of this pool ever has an ONNX session.
 */
export class PreparePool {
  readonly #pool: Piscina;
  readonly #threads: number;
  readonly #modelDir: string;
  readonly #limits: TimeLimits;
  /** What was asked and not yet answered: piscina's `close()` would end threads that are at work. */
  readonly #running = new Set<Promise<unknown>>();
  /** One for each thread that has nothing to do: where it notes which text it is on. */
  readonly #idle: Progress[];
  readonly #waiting: ((progress: Progress) => void)[] = [];
  /** By run, for runs that have any. The run that had its first timeout earliest comes first. */
  readonly #timeouts = new Map<string, number>();
  #invalid: LabelmillError | undefined;
  #closed: Promise<void> | undefined;

  private constructor(pool: Piscina, { modelDir, threads, textMs = TEXT_MS, loadMs = LOAD_MS }: PrepareOptions) {
    this.#pool = pool;
    this.#threads = threads;
    this.#modelDir = modelDir;
    this.#limits = { textMs, loadMs };
    this.#idle = Array.from({ length: threads }, newProgress);
  }

  /** `threads` threads for the tokenizer in `modelDir`; throws MODEL_INVALID if it cannot be loaded. */
  static async start(options: PrepareOptions): Promise<PreparePool> {
    const { modelDir, threads } = options;
    const piscina = { filename: THREAD.href, name: "tokenize", minThreads: threads, maxThreads: threads };
    const pool = new PreparePool(new Piscina({ ...piscina, workerData: { modelDir } }), options);
    try {
      // As many at once as there are threads, so that each has its tokenizer before the first slice comes.
      await Promise.all(Array.from({ length: threads }, () => pool.tokenize([])));
    } catch (error) {
      await pool.close();
      throw error;
    }
    return pool;
  }

  /**
   * The token ids of a slice's texts, in their order. A text that the tokenizer cannot encode has none, and an error: TEXT_TIMEOUT, ITEM_FAILED.
   * Throws MODEL_INVALID after too many of the former in the run, whatever `signal` is aborted with, and ABORTED once closed.
   */
  async tokenize(texts: readonly string[], options: TokenizeOptions = {}): Promise<Chunk> {
    if (this.#closed) throw new LabelmillError("ABORTED", "the tokenizer's threads are closed");
    const running = this.#inPieces(texts, options);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #inPieces(texts: readonly string[], options: TokenizeOptions): Promise<Chunk> {
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

  /** A chunk without its culprits: what stands before one is encoded again, and what stands behind it. */
  async #encode(texts: readonly string[], options: TokenizeOptions): Promise<Chunk> {
    const done: Chunk[] = [];
    for (let rest = texts; ; ) {
      const work = this.#onThread(rest, options);
      // The thread goes on with what is aborted, within the limit of a text; nobody waits for it.
      const outcome = await (options.signal ? abortable(work, options.signal) : work);
      if ("chunk" in outcome) return joinChunks([...done, outcome.chunk]);
      const { failedAt, error } = outcome;
      if (failedAt > 0) done.push(await this.#encode(rest.slice(0, failedAt), options));
      done.push(failedText(error));
      rest = rest.slice(failedAt + 1);
      if (rest.length === 0) return joinChunks(done);
    }
  }

  async #onThread(texts: readonly string[], { run = "", signal }: TokenizeOptions): Promise<Outcome> {
    const progress = this.#idle.pop() ?? (await new Promise<Progress>((free) => this.#waiting.push(free)));
    try {
      if (this.#invalid) throw this.#invalid;
      this.#checkTimeouts(run);
      signal?.throwIfAborted();
      return await this.#limited(texts, run, progress);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(progress);
      else this.#idle.push(progress);
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

  /** @param failedAt the text; undefined where the tokenizer was still being loaded */
  #timedOut(failedAt: number | undefined, run: string): Outcome {
    if (failedAt === undefined) {
      const problem = `expected a tokenizer that loads within ${this.#limits.loadMs / 1000} s of processor time, got one that does not`;
      this.#invalid = this.#tokenizerInvalid(problem);
      throw this.#invalid;
    }
    this.#timeouts.set(run, (this.#timeouts.get(run) ?? 0) + 1);
    if (this.#timeouts.size > MOST_RUNS) this.#timeouts.delete(this.#timeouts.keys().next().value!);
    this.#checkTimeouts(run);
    const seconds = this.#limits.textMs / 1000;
    const message = `expected the tokenizer to encode this text within ${seconds} s of processor time, got no end: shorten the text, or correct the regular expressions in the model's tokenizer.json`;
    return { failedAt, error: textError("TEXT_TIMEOUT", message) };
  }

  /** @throws LabelmillError MODEL_INVALID */
  #checkTimeouts(run: string): void {
    const count = this.#timeouts.get(run) ?? 0;
    if (count <= MOST_TIMEOUTS) return;
    const seconds = this.#limits.textMs / 1000;
    throw this.#tokenizerInvalid(
      `expected the texts of a run to be encoded within ${seconds} s of processor time each, got ${count} that were not: remove them from the input, or look for nested quantifiers in its regular expressions`,
    );
  }

  #tokenizerInvalid(problem: string): LabelmillError {
    return new LabelmillError("MODEL_INVALID", `${this.#modelDir}/tokenizer.json: ${problem}`);
  }

  /** Lets what was asked be answered, then ends the threads. What was aborted is not waited for. */
  close(): Promise<void> {
    this.#closed ??= Promise.allSettled(this.#running).then(() =>
      // `close()` would wait for a thread that nobody waits for any more.
      this.#idle.length < this.#threads ? this.#pool.destroy() : this.#pool.close(),
    );
    return this.#closed;
  }
}

/**
 * One text, by a thread that is gone afterwards: whoever tries a model's tokenizer must not be held up by it.
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

/** In the place of a text that has no tokens. */
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
