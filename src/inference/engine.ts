import { LabelmillError } from "../errors.ts";
import type { ItemError } from "../schemas/item.ts";
import type { Lane } from "../schemas/names.ts";
import type { LabelScore } from "../schemas/row.ts";
import { type Answers, Batcher, type OnAnswers } from "./batching/batcher.ts";
import type { BatcherStats } from "./batching/batcher-stats.ts";
import type { Entry } from "./batching/length-sorted-list.ts";
import type { Packable } from "./batching/packing.ts";
import type { Model } from "./model/model.ts";
import { Runner, type RunnerOptions } from "./runner.ts";
import type { Device } from "./sessions/model-session.ts";
import { BATCHES_PER_THREAD } from "./sessions/session-pool.ts";
import type { Layout } from "./tuning/thread-layouts.ts";

export type EngineOptions = RunnerOptions;

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
  readonly #runner: Runner;
  /** Settles when no other layout of threads is on its way. */
  #changing: Promise<void> = Promise.resolve();

  private constructor(runner: Runner) {
    this.model = runner.model;
    this.#runner = runner;
    this.#batcher = new Batcher<Work, LabelScore[]>({
      rules: runner,
      threads: runner.threads,
      batchesPerThread: BATCHES_PER_THREAD,
      run: (batch, thread, longest) => this.#run(batch, thread, longest),
      onRan: (batch) => {
        if (runner.ran(batch)) this.#changing = this.#batcher.change(() => runner.changeLayout());
      },
      onDeviceError: (error, cost) => runner.deviceFailed(error, cost),
    });
  }

  /** Resolves when every thread has loaded the model and run it. Throws MODEL_INVALID or INFERENCE_FAILED. */
  static async start(options: EngineOptions): Promise<Engine> {
    return new Engine(await Runner.start(options));
  }

  /** Where the model runs, a thread each; on the CPU one for all threads. */
  get devices(): readonly Device[] {
    return this.#runner.devices;
  }

  /** Threads of the model and of each session. */
  get layout(): Layout {
    return this.#runner.layout;
  }

  /** Budgets that were found so far, by the longest of their lengths: padded tokens of a batch, or images. */
  get budgets(): Readonly<Record<number, number>> {
    return this.#runner.found;
  }

  /** Whether the search for budgets and layout is over, as far as lengths have come. */
  get settled(): boolean {
    return this.#runner.settled;
  }

  /** Cost that keeps all threads busy: two batches each of the largest that may be asked for next. */
  get appetite(): number {
    return this.#runner.reach * BATCHES_PER_THREAD * this.#runner.threads;
  }

  /** Settles with the reason when the device has failed on a single item: only a new process may mend that. */
  get failed(): Promise<LabelmillError> {
    return this.#runner.failed;
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
    await this.#changing;
    await this.#runner.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(batch: Work[], thread: number, longest: number): Promise<Answers<LabelScore[]>> {
    const topK = batch.reduce((most, work) => Math.max(most, work.topK), 1);
    const inputs = batch.map((work) => work.input);
    const { ranked, ms } = await this.#runner.run(inputs, longest, topK, thread);
    const answers = ranked.map((labels, at) => {
      if (!labels) return new LabelmillError("NOT_FINITE", "expected finite logits, got NaN or an infinity");
      const best = labels.slice(0, batch[at]!.topK);
      return best.map(({ index, score }) => ({ label: this.model.labels[index]!, score }));
    });
    return { answers, ms };
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
