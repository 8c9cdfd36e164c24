import { LabelmillError, messageOf, toLabelmillError } from "../errors.ts";
import { BatchQueue } from "./batch-queue.ts";
import type { Entry, Group } from "./shelf.ts";

/** What became of one item: its answer, or the error that it cost. */
export type Outcome<R> = R | LabelmillError;

export type BatcherOptions<T, R> = {
  /** The most padded cost (longest × count) of a batch. */
  budget: number;
  /** Batches that may be out at once: one running and one ready per thread. */
  slots: number;
  /**
   * Does the work: as many answers as items, in their order, an Error in the place of an item that failed. If it throws a
   * retryable LabelmillError, the machinery failed, not an item.
   */
  run: (batch: T[]) => Promise<(R | Error)[]>;
};

/** Totals since the start: batches and items cut, and their cost in tokens (texts) or items (images), without and with padding. */
export type BatcherStats = { batches: number; items: number; realCost: number; paddedCost: number };

/** Told how many items of one call got their answer, and the number of the batch (from 1) that brought it. */
export type OnAnswers = (count: number, batch: number) => void;

/** Items that were added together, and whoever waits for them. */
type Call<T, R> = {
  outcomes: Outcome<R>[];
  missing: number;
  resolve: (outcomes: Outcome<R>[]) => void;
  reject: (error: unknown) => void;
  onAnswers: OnAnswers | undefined;
  group?: Group<Held<T, R>>;
};

type Held<T, R> = { value: T; call: Call<T, R>; index: number };

/** Gathers items into batches, which are cut when a slot is free, and gives each item its own outcome. */
export class Batcher<T, R> {
  readonly stats: BatcherStats = { batches: 0, items: 0, realCost: 0, paddedCost: 0 };
  readonly #options: BatcherOptions<T, R>;
  readonly #queue = new BatchQueue<Held<T, R>>();
  #out = 0;
  #running = 0;
  #turn = false;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
  }

  /** Items that wait for a batch. */
  get depth(): number {
    return this.#queue.size;
  }

  /** Items that wait or are in a batch that is out. */
  get held(): number {
    return this.#queue.size + this.#running;
  }

  /**
   * Adds items that arrive together and share their fate: one outcome each, in their order. `length` is their cost, at least 1.
   * An item that makes its batch fail gets ITEM_FAILED, its neighbours their answers. Rejects with a retryable
   * LabelmillError when the machinery failed, with ABORTED when the signal says so or the batcher is closed; what still
   * waits of them is dropped then.
   * @param onAnswers told batch by batch
   */
  async add(items: readonly Entry<T>[], signal?: AbortSignal, onAnswers?: OnAnswers): Promise<Outcome<R>[]> {
    if (this.#closed) throw new LabelmillError("ABORTED", "expected an open batcher, got one that is closing");
    if (signal?.aborted) throw aborted(signal);
    if (items.length === 0) return [];
    const { promise, resolve, reject } = Promise.withResolvers<Outcome<R>[]>();
    const call: Call<T, R> = { outcomes: new Array(items.length), missing: items.length, resolve, reject, onAnswers };
    call.group = this.#queue.add(items.map(({ length, value }, index) => ({ length, value: { value, call, index } })));
    const onAbort = () => this.#fail(call, aborted(signal));
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#cutSoon();
    try {
      return await promise;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** Takes nothing new; resolves when nothing is held any more. */
  close(): Promise<void> {
    this.#closed ??= Promise.withResolvers<void>();
    if (this.held === 0) this.#closed.resolve();
    return this.#closed.promise;
  }

  /** In the next turn of the loop, so that what arrives in this one shares batches. */
  #cutSoon(): void {
    if (this.#turn) return;
    this.#turn = true;
    setImmediate(() => {
      this.#turn = false;
      while (this.#out < this.#options.slots && this.#queue.size > 0) void this.#send();
    });
  }

  async #send(): Promise<void> {
    const batch = this.#queue.cut(this.#options.budget);
    this.#count(batch);
    const number = this.stats.batches;
    this.#out++;
    this.#running += batch.length;
    const held = batch.map((entry) => entry.value);
    try {
      const outcomes = await this.#runOrHalve(held);
      const answered = new Map<Call<T, R>, number>();
      outcomes.forEach((outcome, at) => {
        const { call } = held[at]!;
        settle(held[at]!, outcome);
        answered.set(call, (answered.get(call) ?? 0) + 1);
      });
      for (const [call, count] of answered) call.onAnswers?.(count, number);
    } catch (error) {
      for (const call of new Set(held.map((item) => item.call))) this.#fail(call, toLabelmillError(error));
    }
    this.#out--;
    this.#running -= batch.length;
    if (this.held === 0) this.#closed?.resolve();
    this.#cutSoon();
  }

  /** A batch that fails is halved until the culprits are alone. The halves run one after the other, in the batch's slot. */
  async #runOrHalve(held: Held<T, R>[]): Promise<Outcome<R>[]> {
    let answers: (R | Error)[];
    try {
      answers = await this.#options.run(held.map((item) => item.value));
    } catch (error) {
      if (error instanceof LabelmillError && error.retryable) throw error;
      if (held.length === 1) return [toItemError(error)];
      const half = held.length >>> 1;
      return [...(await this.#runOrHalve(held.slice(0, half))), ...(await this.#runOrHalve(held.slice(half)))];
    }
    if (answers.length !== held.length) {
      throw new LabelmillError("INTERNAL", `expected ${held.length} answers for a batch, got ${answers.length}`);
    }
    return answers.map((answer) => (answer instanceof Error ? toItemError(answer) : answer));
  }

  #fail(call: Call<T, R>, error: LabelmillError): void {
    call.reject(error);
    this.#queue.discard(call.group!);
    if (this.held === 0) this.#closed?.resolve();
  }

  #count(batch: readonly Entry<unknown>[]): void {
    this.stats.batches++;
    this.stats.items += batch.length;
    let longest = 0;
    for (const { length } of batch) {
      this.stats.realCost += length;
      longest = Math.max(longest, length);
    }
    this.stats.paddedCost += longest * batch.length;
  }
}

/** A call that was rejected before takes no notice. */
function settle<T, R>({ call, index }: Held<T, R>, outcome: Outcome<R>): void {
  call.outcomes[index] = outcome;
  if (--call.missing === 0) call.resolve(call.outcomes);
}

function toItemError(error: unknown): LabelmillError {
  if (error instanceof LabelmillError) return error;
  return new LabelmillError("ITEM_FAILED", `the model failed on this item: ${messageOf(error)}`, { cause: error });
}

function aborted(signal: AbortSignal | undefined): LabelmillError {
  return new LabelmillError("ABORTED", "the work was called off before it was done", { cause: signal?.reason });
}
