import { LabelmillError } from "../errors.ts";
import type { ItemError } from "../schemas/item.ts";
import type { Lane } from "../schemas/names.ts";
import type { LabelScore } from "../schemas/row.ts";
import type { Task } from "../schemas/task.ts";
import { Batcher } from "./batching/batcher.ts";
import type { BatcherStats } from "./batching/batcher-stats.ts";
import type { OnAnswers } from "./batching/calls.ts";
import type { Entry } from "./batching/length-sorted-list.ts";
import type { Answers } from "./batching/run-or-halve.ts";
import type { Device } from "./devices/device.ts";
import type { Model } from "./model/model.ts";
import { Runner, type RunnerOptions } from "./runner.ts";
import type { Packable } from "./sessions/batch-buffer.ts";
import type { BatchClaim } from "./sessions/batch-claim.ts";
import { BATCHES_PER_THREAD } from "./sessions/session-pool.ts";
import type { Layout } from "./tuning/thread-layouts.ts";

export type EngineOptions = RunnerOptions;

/** An item that is ready for the model: its token ids, or its pixels (height × width × RGB, of the size in the model's recipe). */
export type Prepared = { tokens: Int32Array } | { pixels: Uint8Array };

/** The best labels of an item, best first, or its error. */
export type Outcome = { labels: LabelScore[] } | { error: ItemError };

/** An item in the batcher: the model's input, and how many labels its job needs. */
type Work = { input: Packable; topK: number };

/** Checks an item against what the model takes. An input of a wrong size would shift the whole batch. */
const CHECKS: Record<Task, (item: Prepared, topK: number, model: Model) => Entry<Work> | LabelmillError> = {
  "text-classification": checkText,
  "image-classification": checkImage,
};

/** A loaded model that labels prepared items, in batches of the items of all callers. */
export class Engine {
  readonly model: Model;
  readonly #batcher: Batcher<Work, LabelScore[]>;
  readonly #runner: Runner;
  /** Settles when no change of the thread layout is in progress. */
  #changing: Promise<void> = Promise.resolve();

  private constructor(runner: Runner) {
    this.model = runner.model;
    this.#runner = runner;
    this.#batcher = new Batcher<Work, LabelScore[]>({
      rules: runner,
      threads: runner.threads,
      batchesPerThread: BATCHES_PER_THREAD,
      run: (batch, thread, longest, claim) => this.#run(batch, thread, longest, claim),
      onRan: (batch) => {
        if (runner.recordBatch(batch)) this.#changing = this.#batcher.change(() => runner.changeLayout());
      },
      onDeviceError: (error, cost) => runner.deviceFailed(error, cost),
    });
  }

  /** Resolves when every thread has loaded the model and run it. Throws MODEL_INVALID or INFERENCE_FAILED. */
  static async start(options: EngineOptions): Promise<Engine> {
    return new Engine(await Runner.start(options));
  }

  /** Where the model runs: one device for each thread, or the CPU for all of them. */
  get devices(): readonly Device[] {
    return this.#runner.devices;
  }

  /** The number of inference threads, and of threads within each session. */
  get layout(): Layout {
    return this.#runner.layout;
  }

  /** Budgets found so far (padded tokens of a batch, or images), by the upper bound of the lengths that share each. */
  get budgets(): Readonly<Record<number, number>> {
    return this.#runner.found;
  }

  /** Whether the search for the layout, and for the budgets of all lengths seen so far, has ended. */
  get settled(): boolean {
    return this.#runner.settled;
  }

  /** The cost that keeps all threads busy: for each, BATCHES_PER_THREAD batches of the largest size that may come next. */
  get appetite(): number {
    return this.#runner.reach * BATCHES_PER_THREAD * this.#runner.threads;
  }

  /** Settles with the reason when the device failed on a single item. Only a new process may recover. */
  get failed(): Promise<LabelmillError> {
    return this.#runner.failed;
  }

  /** Totals of batches and items, and their cost with and without padding. */
  get stats(): Readonly<BatcherStats> {
    return this.#batcher.stats;
  }

  /** Items that wait or run. */
  get held(): number {
    return this.#batcher.held;
  }

  /** Items that wait for a batch. */
  get depth(): number {
    return this.#batcher.depth;
  }

  /**
   * Labels items: one outcome for each, in their order, with the best `topK` labels (at least 1; all labels if the model has
   * fewer). Rejects with INFERENCE_FAILED (retryable) if a thread or device failed, and with ABORTED if the signal aborts or
   * the engine closes; waiting items are dropped then.
   * @param onAnswers called for each batch that contained some of these items
   * @param lane interactive items go first; bulk items keep a fifth of the model's capacity
   */
  async label(
    prepared: readonly Prepared[],
    topK: number,
    signal?: AbortSignal,
    onAnswers?: OnAnswers,
    lane: Lane = "bulk",
  ): Promise<Outcome[]> {
    const k = Math.min(topK, this.model.labels.length);
    const check = CHECKS[this.model.task];
    const checked = prepared.map((item) => check(item, k, this.model));
    const entries = checked.filter((entry): entry is Entry<Work> => !(entry instanceof LabelmillError));
    const answers = (await this.#batcher.add(entries, signal, onAnswers, lane)).values();
    return checked.map((entry) => {
      const answer = entry instanceof LabelmillError ? entry : answers.next().value!;
      return answer instanceof LabelmillError ? { error: itemError(answer) } : { labels: answer };
    });
  }

  /** Rejects new items, answers those that it has and ends its threads. */
  async close(): Promise<void> {
    await this.#batcher.close();
    await this.#changing;
    await this.#runner.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(
    batch: Work[],
    thread: number,
    longest: number,
    claim: BatchClaim | undefined,
  ): Promise<Answers<LabelScore[]>> {
    const topK = batch.reduce((most, work) => Math.max(most, work.topK), 1);
    const inputs = batch.map((work) => work.input);
    const { ranked, ms } = await this.#runner.run(inputs, longest, topK, thread, claim);
    const answers = ranked.map((labels, at) => {
      if (!labels) return new LabelmillError("NOT_FINITE", "expected finite logits, got NaN or an infinity");
      const best = labels.slice(0, batch[at]!.topK);
      return best.map(({ index, score }) => ({ label: this.model.labels[index]!, score }));
    });
    return { answers, ms };
  }
}

function checkText(item: Prepared, topK: number): Entry<Work> | LabelmillError {
  if (!("tokens" in item)) return new LabelmillError("ITEM_FAILED", `expected tokens, got ${describe(item)}`);
  if (item.tokens.length === 0) return new LabelmillError("EMPTY_TEXT", "expected a text with tokens, got one without");
  return { length: item.tokens.length, value: { input: item.tokens, topK } };
}

function checkImage(item: Prepared, topK: number, { recipe }: Model): Entry<Work> | LabelmillError {
  const bytes = recipe!.width * recipe!.height * 3;
  if ("pixels" in item && item.pixels.length === bytes) return { length: 1, value: { input: item.pixels, topK } };
  return new LabelmillError("ITEM_FAILED", `expected ${bytes} bytes of pixels, got ${describe(item)}`);
}

function describe(item: Prepared): string {
  return "tokens" in item ? `${item.tokens.length} tokens` : `${item.pixels.length} bytes of pixels`;
}

function itemError({ code, message, retryable }: LabelmillError): ItemError {
  return { code, message: message.slice(0, 4096), ...(retryable && { retryable }) };
}
