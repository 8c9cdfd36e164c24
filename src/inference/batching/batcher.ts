import { LabelmillError, messageOf, toLabelmillError } from "../../errors.ts";
import type { Lane } from "../../schemas/names.ts";
import { DeviceError } from "../devices/device-error.ts";
import type { RanBatch } from "../tuning/batch-budgets.ts";
import type { BatchRules, CutReason } from "./batch.ts";
import { BatcherStats } from "./batcher-stats.ts";
import { LaneScheduler } from "./lane-scheduler.ts";
import type { Entry } from "./length-sorted-list.ts";
import { ThreadLoad } from "./thread-load.ts";

/** What became of one item: its answer, or the error that it cost. */
export type Outcome<R> = R | LabelmillError;

/** What came of a batch: as many answers as items, in their order, and the ms that they took. */
export type Answers<R> = { answers: (R | Error)[]; ms: number };

export type BatcherOptions<T, R> = {
  rules: BatchRules;
  /** Threads that do the work, at least 1. */
  threads: number;
  /** The most batches that a thread may have: one that runs, the others ready. */
  batchesPerThread: number;
  /**
   * Does the work on a thread (0 to threads − 1): an Error in the place of an item that failed. If it throws a retryable
   * LabelmillError, the machinery failed, not an item; if a DeviceError, a smaller batch may pass.
   * @param longest of the items' lengths
   */
  run: (batch: T[], thread: number, longest: number) => Promise<Answers<R>>;
  /** Told of each batch that the model is through with. */
  onRan?: (batch: RanBatch & { reason: CutReason }) => void;
  /** Told when the device failed on a batch of this padded cost; 0 when it failed on a single item, and so on all. */
  onDeviceError?: (error: DeviceError, paddedCost: number) => void;
};

/** Told how many items of one call got their answer, the number of the batch (from 1) that brought it, and their share of its ms. */
export type OnAnswers = (count: number, batch: number, ms: number) => void;

/** Items that were added together, and whoever waits for them. */
type Call<R> = {
  lane: Lane;
  addedAt: number;
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
  readonly stats = new BatcherStats();
  readonly #options: BatcherOptions<T, R>;
  readonly #lanes = new LaneScheduler<Held<T, R>>();
  #threads: ThreadLoad;
  #running = 0;
  /** Counted so far; meaningful while something runs. */
  #busySince = 0;
  #turn = false;
  /** Set while nothing may begin. */
  #idle: PromiseWithResolvers<void> | undefined;
  #closed: PromiseWithResolvers<void> | undefined;

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
    this.#threads = new ThreadLoad(options.threads);
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
      addedAt: performance.now(),
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

  /**
   * Lets the batches that are out end and begins no other until `change` is done, which says how many threads there are from then on.
   */
  async change(change: () => Promise<number>): Promise<void> {
    this.#idle = Promise.withResolvers<void>();
    if (this.#running === 0) this.#idle.resolve();
    await this.#idle.promise;
    try {
      this.#threads = new ThreadLoad(await change());
    } finally {
      this.#idle = undefined;
      this.#cutSoon();
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
    const { rules, batchesPerThread } = this.#options;
    while (this.#lanes.size > 0 && !this.#idle) {
      const { thread, out } = this.#threads.leastBusy();
      const budget = rules.peek(this.#lanes.nextLength!);
      if (out === batchesPerThread || (out > 0 && this.#lanes.cost < budget)) return;
      const little = this.#lanes.cost < budget * WORTH_A_THREAD;
      if (little && this.#threads.endsWithin(SOON_MS, performance.now())) return;
      void this.#send(thread);
    }
  }

  async #send(thread: number): Promise<void> {
    const batch = this.#lanes.cut(this.#options.rules);
    const { entries, longest, reason } = batch;
    const paddedCost = batch.cost(entries.length);
    const realCost = this.stats.countBatch(entries, paddedCost, reason);
    const number = this.stats.batches;
    this.#threads.begin(thread, paddedCost, performance.now());
    if (this.#running === 0) this.#busySince = performance.now();
    this.#running += entries.length;
    try {
      const { answers, ms } = await this.#runOrHalve(entries, thread, longest);
      this.stats.countAnswers(entries, ms);
      this.#options.onRan?.({ length: entries[0]!.length, paddedCost, realCost, ms, reason });
      const shares = new Map<Call<R>, { count: number; cost: number }>();
      for (const [at, { length, value }] of entries.entries()) {
        settle(value, answers[at]!);
        const share = shares.get(value.call) ?? { count: 0, cost: 0 };
        if (share.count === 0) shares.set(value.call, share);
        share.count += 1;
        share.cost += length;
      }
      for (const [call, { count, cost }] of shares) call.onAnswers?.(count, number, (ms * cost) / realCost);
    } catch (error) {
      for (const call of new Set(entries.map(({ value }) => value.call))) this.#fail(call, toLabelmillError(error));
    }
    this.#threads.end(thread, performance.now());
    this.#running -= entries.length;
    this.#countTime();
    if (this.#running === 0) this.#idle?.resolve();
    if (this.held === 0) this.#closed?.resolve();
    this.#cutSoon();
  }

  /** A batch that fails is halved until the culprits are alone. The halves run one after the other, in the batch's place. */
  async #runOrHalve(
    entries: readonly Entry<Held<T, R>>[],
    thread: number,
    longest: number,
  ): Promise<{ answers: Outcome<R>[]; ms: number }> {
    const items = entries.map(({ value }) => value.value);
    let ran: Answers<R>;
    try {
      ran = await this.#options.run(items, thread, longest);
    } catch (error) {
      if (error instanceof LabelmillError && error.retryable) throw error;
      if (error instanceof DeviceError) this.#tellDeviceError(error, entries.length, longest);
      if (entries.length === 1) return { answers: [toItemError(error)], ms: 0 };
      const half = entries.length >>> 1;
      const first = await this.#runOrHalve(entries.slice(0, half), thread, longestOf(entries.slice(0, half)));
      const second = await this.#runOrHalve(entries.slice(half), thread, longestOf(entries.slice(half)));
      return { answers: [...first.answers, ...second.answers], ms: first.ms + second.ms };
    }
    const { answers, ms } = ran;
    if (answers.length !== items.length) {
      throw new LabelmillError("INTERNAL", `expected ${items.length} answers for a batch, got ${answers.length}`);
    }
    return { answers: answers.map((answer) => (answer instanceof Error ? toItemError(answer) : answer)), ms };
  }

  /** @throws LabelmillError INFERENCE_FAILED when a single item was too much: then it is not the item's fault */
  #tellDeviceError(error: DeviceError, count: number, longest: number): void {
    const cost = count === 1 ? 0 : this.#options.rules.lengthOf(longest) * count;
    this.#options.onDeviceError?.(error, cost);
    if (count > 1) return;
    throw new LabelmillError("INFERENCE_FAILED", `the device failed on a single item: ${error.message}`, {
      cause: error,
    });
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
}

function longestOf(entries: readonly Entry<unknown>[]): number {
  return entries.reduce((most, { length }) => Math.max(most, length), 0);
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
