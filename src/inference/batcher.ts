import { LabelmillError, messageOf, toLabelmillError } from "../errors.ts";
import type { Lane } from "../schemas/names.ts";
import { Lanes } from "./lanes.ts";
import type { Entry } from "./shelf.ts";
import { Threads } from "./threads.ts";

/** What became of one item: its answer, or the error that it cost. */
export type Outcome<R> = R | LabelmillError;

export type BatcherOptions<T, R> = {
  /** The most padded cost (longest × count) of a batch. */
  budget: number;
  /** Threads that do the work, at least 1. */
  threads: number;
  /** The most batches that a thread may have: one that runs, the others ready. */
  batchesPerThread: number;
  /**
   * Does the work on a thread (0 to threads − 1): as many answers as items, in their order, an Error in the place of an item
   * that failed. If it throws a retryable LabelmillError, the machinery failed, not an item.
   */
  run: (batch: T[], thread: number) => Promise<(R | Error)[]>;
};

/** Totals since the start: batches and items cut, and their cost in tokens (texts) or items (images), without and with padding. */
export type BatcherStats = {
  batches: number;
  items: number;
  realCost: number;
  paddedCost: number;
  /** Time in which a batch was out, in milliseconds. */
  busyMs: number;
  /** What each lane has of `items` and `realCost`. */
  lanes: Record<Lane, { items: number; realCost: number }>;
};

/** Told how many items of one call got their answer, and the number of the batch (from 1) that brought it. */
export type OnAnswers = (count: number, batch: number) => void;

/** Items that were added together, and whoever waits for them. */
type Call<R> = {
  lane: Lane;
  outcomes: Outcome<R>[];
  missing: number;
  resolve: (outcomes: Outcome<R>[]) => void;
  reject: (error: unknown) => void;
  onAnswers: OnAnswers | undefined;
  /** Drops those that still wait. */
  drop?: () => void;
};

type Held<T, R> = { value: T; call: Call<R>; index: number };

/** An idle thread leaves less than this part of a budget to one that runs, if that is through within SOON_MS. */
const WORTH_A_THREAD = 1 / 2;
/** A wait that nobody notices. */
const SOON_MS = 25;

/**
 * Gathers items into batches and gives each item its own outcome. A thread without a batch is given one at once, whatever waits,
 * unless that is little and another thread is as good as through with its own: so single items that come one by one share batches
 * where the model is fast, and never wait for one that is slow. A thread that runs is given the next as soon as what waits is worth
 * a full one: cut sooner, it would be small for no gain.
 */
export class Batcher<T, R> {
  readonly stats: BatcherStats = {
    batches: 0,
    items: 0,
    realCost: 0,
    paddedCost: 0,
    busyMs: 0,
    lanes: { interactive: { items: 0, realCost: 0 }, bulk: { items: 0, realCost: 0 } },
  };
  readonly #options: BatcherOptions<T, R>;
  readonly #lanes = new Lanes<Held<T, R>>();
  readonly #threads: Threads;
  #running = 0;
  /** Counted so far; meaningful while something runs. */
  #busySince = 0;
  #turn = false;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
    this.#threads = new Threads(options.threads);
  }

  /** Items that wait for a batch. */
  get depth(): number {
    return this.#lanes.size;
  }

  /** Items that wait or are in a batch that is out. */
  get held(): number {
    return this.#lanes.size + this.#running;
  }

  /**
   * Adds items that arrive together and share their fate: one outcome each, in their order. `length` is their cost, at least 1.
   * An item that makes its batch fail gets ITEM_FAILED, its neighbours their answers. Rejects with a retryable
   * LabelmillError when the machinery failed, with ABORTED when the signal says so or the batcher is closed; what still
   * waits of them is dropped then.
   * @param onAnswers told batch by batch
   * @param lane interactive items go first
   */
  async add(
    items: readonly Entry<T>[],
    signal?: AbortSignal,
    onAnswers?: OnAnswers,
    lane: Lane = "bulk",
  ): Promise<Outcome<R>[]> {
    if (this.#closed) throw new LabelmillError("ABORTED", "expected an open batcher, got one that is closing");
    if (signal?.aborted) throw aborted(signal);
    if (items.length === 0) return [];
    const { promise, resolve, reject } = Promise.withResolvers<Outcome<R>[]>();
    const call: Call<R> = {
      lane,
      outcomes: new Array(items.length),
      missing: items.length,
      resolve,
      reject,
      onAnswers,
    };
    const held = items.map(({ length, value }, index) => ({ length, value: { value, call, index } }));
    call.drop = this.#lanes.add(lane, held);
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
      this.#cut();
    });
  }

  #cut(): void {
    const { budget, batchesPerThread } = this.#options;
    while (this.#lanes.size > 0) {
      const { thread, out } = this.#threads.leastBusy();
      if (out === batchesPerThread || (out > 0 && this.#lanes.cost < budget)) return;
      const little = this.#lanes.cost < budget * WORTH_A_THREAD;
      if (little && this.#threads.endsWithin(SOON_MS, performance.now())) return;
      void this.#send(thread);
    }
  }

  async #send(thread: number): Promise<void> {
    const batch = this.#lanes.cut(this.#options.budget);
    const cost = this.#count(batch);
    const number = this.stats.batches;
    this.#threads.begin(thread, cost, performance.now());
    if (this.#running === 0) this.#busySince = performance.now();
    this.#running += batch.length;
    const held = batch.map((entry) => entry.value);
    try {
      const outcomes = await this.#runOrHalve(held, thread);
      const answered = new Map<Call<R>, number>();
      outcomes.forEach((outcome, at) => {
        const { call } = held[at]!;
        settle(held[at]!, outcome);
        answered.set(call, (answered.get(call) ?? 0) + 1);
      });
      for (const [call, count] of answered) call.onAnswers?.(count, number);
    } catch (error) {
      for (const call of new Set(held.map((item) => item.call))) this.#fail(call, toLabelmillError(error));
    }
    this.#threads.end(thread, performance.now());
    this.#running -= batch.length;
    this.#countTime();
    if (this.held === 0) this.#closed?.resolve();
    this.#cutSoon();
  }

  /** A batch that fails is halved until the culprits are alone. The halves run one after the other, in the batch's place. */
  async #runOrHalve(held: Held<T, R>[], thread: number): Promise<Outcome<R>[]> {
    let answers: (R | Error)[];
    try {
      answers = await this.#options.run(
        held.map((item) => item.value),
        thread,
      );
    } catch (error) {
      if (error instanceof LabelmillError && error.retryable) throw error;
      if (held.length === 1) return [toItemError(error)];
      const half = held.length >>> 1;
      const first = await this.#runOrHalve(held.slice(0, half), thread);
      return [...first, ...(await this.#runOrHalve(held.slice(half), thread))];
    }
    if (answers.length !== held.length) {
      throw new LabelmillError("INTERNAL", `expected ${held.length} answers for a batch, got ${answers.length}`);
    }
    return answers.map((answer) => (answer instanceof Error ? toItemError(answer) : answer));
  }

  #fail(call: Call<R>, error: LabelmillError): void {
    call.reject(error);
    call.drop?.();
    if (this.held === 0) this.#closed?.resolve();
  }

  #countTime(): void {
    const now = performance.now();
    this.stats.busyMs += now - this.#busySince;
    this.#busySince = now;
  }

  /** @returns the batch's padded cost */
  #count(batch: readonly Entry<Held<T, R>>[]): number {
    this.stats.batches++;
    this.stats.items += batch.length;
    let longest = 0;
    for (const { length, value } of batch) {
      const lane = this.stats.lanes[value.call.lane];
      lane.items++;
      lane.realCost += length;
      this.stats.realCost += length;
      longest = Math.max(longest, length);
    }
    const padded = longest * batch.length;
    this.stats.paddedCost += padded;
    return padded;
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
