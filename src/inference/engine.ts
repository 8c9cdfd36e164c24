import { LabelmillError } from "../errors.ts";
import type { ItemError } from "../schemas/item.ts";
import type { Task } from "../schemas/job.ts";
import type { Lane } from "../schemas/names.ts";
import type { LabelScore } from "../schemas/row.ts";
import { Batcher, type BatcherStats, type OnAnswers } from "./batcher.ts";
import type { Model } from "./model.ts";
import type { Packable } from "./packing.ts";
import { BATCHES_PER_THREAD, SessionPool } from "./session-pool.ts";
import type { SessionSetup } from "./session-thread.ts";
import type { Entry } from "./shelf.ts";

/**
 * Padded cost of a batch on the CPU: tokens of texts, number of images. On mixed lengths 512 tokens were the fastest of
 * what was measured and 8,192 a third slower; eight images are the least that keep a core as busy as it gets.
 */
export const DEFAULT_BUDGETS = { "text-classification": 512, "image-classification": 8 } as const satisfies Record<
  Task,
  number
>;

export type EngineOptions = {
  model: Model;
  /** Inference threads, each with a copy of the model. On the CPU, threads × intraOpThreads = cores. */
  threads: number;
  /** Threads within one run; one each is the fastest where there are as many inference threads as cores. */
  intraOpThreads: number;
  /** The most padded cost of a batch: longest text × texts in tokens, or the number of images. */
  budget: number;
};

/** An item that is ready for the model: its token ids, or its pixels (height × width × RGB, as the model's recipe says). */
export type Prepared = { tokens: Int32Array } | { pixels: Uint8Array };

/** The best labels of an item, best first, or why it has none. */
export type Outcome = { labels: LabelScore[] } | { error: ItemError };

/** An item in the batcher: what the model takes, and how many labels its job asks for. */
type Work = { input: Packable; topK: number };

/** A loaded model that labels what is prepared for it, in batches made of the items of all callers. */
export class Engine {
  readonly model: Model;
  readonly #batcher: Batcher<Work, LabelScore[]>;
  readonly #pool: SessionPool;

  private constructor(options: EngineOptions, pool: SessionPool) {
    this.model = options.model;
    this.#pool = pool;
    this.#batcher = new Batcher<Work, LabelScore[]>({
      budget: options.budget,
      threads: options.threads,
      batchesPerThread: BATCHES_PER_THREAD,
      run: (batch, thread) => this.#run(batch, thread),
    });
  }

  /** Resolves when every thread has loaded the model and run it once. Throws MODEL_INVALID or INFERENCE_FAILED. */
  static async start(options: EngineOptions): Promise<Engine> {
    const { model, threads, intraOpThreads } = options;
    const setup: SessionSetup = {
      modelFile: model.modelFile,
      input: model.recipe ? { kind: "image", recipe: model.recipe } : { kind: "text", padId: model.padId },
      labels: model.labels.length,
      device: "cpu",
      intraOpThreads,
    };
    return new Engine(options, await SessionPool.start(setup, threads));
  }

  /** Batches and items so far, and their cost with and without padding. */
  get stats(): Readonly<BatcherStats> {
    return this.#batcher.stats;
  }

  /** Items that wait or are with the model. */
  get held(): number {
    return this.#batcher.held;
  }

  /** Items that wait for a batch. */
  get depth(): number {
    return this.#batcher.depth;
  }

  /**
   * One outcome for each item, in their order, with the best `topK` labels (at least 1; all of the model's, if it has fewer).
   * Rejects with INFERENCE_FAILED (retryable) when the machinery failed, with ABORTED when the signal says so or the engine
   * is closed; what still waits is dropped then.
   * @param onAnswers told, batch by batch, how many of these items the model is through with
   * @param lane interactive items go first; bulk keeps a fifth of the model while it waits
   */
  async label(
    prepared: readonly Prepared[],
    topK: number,
    signal?: AbortSignal,
    onAnswers?: OnAnswers,
    lane: Lane = "bulk",
  ): Promise<Outcome[]> {
    const k = Math.min(topK, this.model.labels.length);
    const checked = prepared.map((item) => this.#check(item, k));
    const entries = checked.filter((entry): entry is Entry<Work> => !(entry instanceof LabelmillError));
    const answers = (await this.#batcher.add(entries, signal, onAnswers, lane)).values();
    return checked.map((entry) => {
      const answer = entry instanceof LabelmillError ? entry : answers.next().value!;
      return answer instanceof LabelmillError ? { error: itemError(answer) } : { labels: answer };
    });
  }

  /** Takes nothing new, answers what it holds and ends its threads. */
  async close(): Promise<void> {
    await this.#batcher.close();
    await this.#pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(batch: Work[], thread: number): Promise<(LabelScore[] | LabelmillError)[]> {
    const topK = batch.reduce((most, work) => Math.max(most, work.topK), 1);
    const inputs = batch.map((work) => work.input);
    const answers = await this.#pool.run(inputs, topK, thread);
    return answers.map((ranked, at) => {
      if (!ranked) return new LabelmillError("NOT_FINITE", "expected finite logits, got NaN or an infinity");
      const best = ranked.slice(0, batch[at]!.topK);
      return best.map(({ index, score }) => ({ label: this.model.labels[index]!, score }));
    });
  }

  /** Sizes that do not fit would shift the whole batch, so they are refused here. */
  #check(item: Prepared, topK: number): Entry<Work> | LabelmillError {
    const { recipe } = this.model;
    if (recipe) {
      const bytes = recipe.width * recipe.height * 3;
      if ("pixels" in item && item.pixels.length === bytes) return { length: 1, value: { input: item.pixels, topK } };
      return new LabelmillError("ITEM_FAILED", `expected ${bytes} bytes of pixels, got ${describe(item)}`);
    }
    if (!("tokens" in item)) return new LabelmillError("ITEM_FAILED", `expected tokens, got ${describe(item)}`);
    if (item.tokens.length === 0)
      return new LabelmillError("EMPTY_TEXT", "expected a text with tokens, got one without");
    return { length: item.tokens.length, value: { input: item.tokens, topK } };
  }
}

function describe(item: Prepared): string {
  return "tokens" in item ? `${item.tokens.length} tokens` : `${item.pixels.length} bytes of pixels`;
}

function itemError({ code, message, retryable }: LabelmillError): ItemError {
  return { code, message: message.slice(0, 4096), ...(retryable && { retryable }) };
}
