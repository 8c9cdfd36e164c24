import { LabelmillError, toLabelmillError } from "../errors.ts";
import type { BatchRules, CutReason } from "./batching/batch.ts";
import type { Packable, Ranked } from "./batching/packing.ts";
import { DeviceError } from "./devices/device-error.ts";
import type { Model } from "./model/model.ts";
import { readTokenLimits } from "./model/token-limits.ts";
import type { Device } from "./sessions/model-session.ts";
import { SessionPool } from "./sessions/session-pool.ts";
import { setupOf } from "./sessions/session-setup.ts";
import { Budgets, type RanBatch } from "./tuning/batch-budgets.ts";
import { type Sizing, sizingOf } from "./tuning/batch-sizing.ts";
import { type Layout, LayoutSearch, layoutsOf, usualLayout } from "./tuning/thread-layouts.ts";
import { readTuning, type Tuning, writeTuning } from "./tuning/tuning-file.ts";

export type RunnerOptions = {
  model: Model;
  /** GPUs, each with a thread of its own; none: the CPU. */
  devices?: readonly Device[] | undefined;
  /** Cores that the model may use on the CPU. */
  cores: number;
  /** On the CPU: inference threads, each with a copy of the model; none: found while running, threads × intra-op = cores. */
  threads?: number | undefined;
  /** Threads within one run; none: what the threads leave of the cores. */
  intraOpThreads?: number | undefined;
  /** The most padded cost of a batch: longest text × texts in tokens, or the number of images; none: found while running. */
  budget?: number | undefined;
  /** Where the search for it begins, if not where it usually does. */
  startBudget?: number | undefined;
  /** A file that remembers what was found. */
  tuningFile?: string | undefined;
  /** The file that inference threads run, if it is not onnxruntime's; it calls `serveSession`. */
  thread?: URL | undefined;
  /** Told, in words, of what was found and what failed. */
  say?: ((message: string, detail: Record<string, unknown>) => void) | undefined;
};

/** Batches under load, in a row, before layouts are compared: what is measured at rest says nothing of how threads get along. */
const UNDER_LOAD = 12;

/** Runs batches of one model on its threads, and finds out how large they should be and, on the CPU, how many threads there should be. */
export class Runner implements BatchRules {
  readonly model: Model;
  readonly #options: RunnerOptions;
  readonly #sizing: Sizing;
  readonly #layouts: LayoutSearch;
  readonly #failed = Promise.withResolvers<LabelmillError>();
  #pool: SessionPool;
  #budgets: Budgets;
  /** Batches of this padded cost and more found no memory. */
  #tooLarge: number;
  #underLoad = 0;
  /** Another layout is on its way: what ends until then ran with the one before. */
  #changing = false;
  /** What was found with each number of threads. */
  readonly #foundWith = new Map<number, Record<number, number>>();
  #remembered = "";
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    options: RunnerOptions,
    sizing: Sizing,
    pool: SessionPool,
    tuning: Tuning | undefined,
    layouts: LayoutSearch,
  ) {
    this.model = options.model;
    this.#options = options;
    this.#sizing = sizing;
    this.#layouts = layouts;
    this.#pool = pool;
    this.#tooLarge = Math.min(pool.tooLarge, tuning?.tooLarge ?? Number.POSITIVE_INFINITY);
    this.#budgets = this.#newBudgets(tuning?.budgets, true);
  }

  /** Resolves when every thread has loaded the model and run it. Throws MODEL_INVALID or INFERENCE_FAILED. */
  static async start(options: RunnerOptions): Promise<Runner> {
    const tuning = options.tuningFile === undefined ? undefined : await readTuning(options.tuningFile);
    const layouts = openLayouts(options, tuning);
    const sizing = await sizingFor(options);
    const pool = await openPool(options, sizing, layouts.current);
    return new Runner(options, sizing, pool, tuning, layouts);
  }

  get devices(): readonly Device[] {
    return this.#options.devices ?? ["cpu"];
  }

  get threads(): number {
    return this.#pool.size;
  }

  get layout(): Layout {
    return { threads: this.threads, intraOpThreads: this.#layouts.current.intraOpThreads };
  }

  get found(): Record<number, number> {
    return this.#budgets.found;
  }

  get settled(): boolean {
    return this.#budgets.settled && this.#layouts.done;
  }

  get failed(): Promise<LabelmillError> {
    return this.#failed.promise;
  }

  next(length: number): number {
    return this.#budgets.next(length);
  }

  peek(length: number): number {
    return this.#budgets.peek(length);
  }

  get reach(): number {
    return this.#budgets.reach;
  }

  lengthOf(length: number): number {
    return this.#sizing.shapes.lengthOf(length);
  }

  get similar(): number {
    return this.#sizing.similar;
  }

  /** Throws what the pool throws; a DeviceError, too, for several items that would be padded to what found no memory before. */
  async run(
    items: readonly Packable[],
    longest: number,
    topK: number,
    thread: number,
  ): Promise<{ ranked: (Ranked[] | null)[]; ms: number }> {
    const shape = this.#sizing.shapes.shapeOf(items.length, longest);
    const cost = shape.rows * shape.length;
    if (cost < this.#tooLarge) {
      try {
        return await this.#pool.run(items, shape, topK, thread);
      } catch (error) {
        if (!(error instanceof DeviceError) || !error.memory || shape.rows === 1) throw error;
        this.#noteTooLarge(cost, error);
        if (items.length > 1) throw error;
      }
    } else if (items.length > 1)
      throw new DeviceError(`out of memory: so were ${this.#tooLarge} of padded cost before`);
    // One item may still pass without the rows that are padding.
    return this.#pool.run(items, { rows: 1, length: shape.length }, topK, thread);
  }

  /** Learns from a batch. @returns whether another layout is to be tried: `changeLayout`, when no batch is out */
  ran({ reason, ...batch }: RanBatch & { reason: CutReason }): boolean {
    if (this.#changing) return false;
    this.#budgets.ran(batch);
    this.#underLoad = reason === "drained" ? 0 : this.#underLoad + 1;
    if (this.settled) this.#remember();
    if (this.#layouts.done || this.#underLoad < UNDER_LOAD || !this.#budgets.settled) return false;
    this.#underLoad = 0;
    this.#foundWith.set(this.threads, this.#budgets.found);
    this.#changing = this.#layouts.measured(this.#budgets.rates) !== undefined;
    return this.#changing;
  }

  /** Goes to the layout that is to be tried, or that was the best. @returns the number of threads from then on */
  async changeLayout(): Promise<number> {
    const found = this.#budgets.found;
    await this.#pool.close();
    this.#pool = await this.#openNext();
    this.#tell("another layout of threads", { ...this.layout });
    const before = this.#foundWith.get(this.threads);
    this.#budgets = this.#newBudgets(before ?? found, before !== undefined);
    this.#changing = false;
    return this.threads;
  }

  async #openNext(): Promise<SessionPool> {
    try {
      return await openPool(this.#options, this.#sizing, this.#layouts.current);
    } catch (error) {
      this.#tell("a layout of threads could not be had", { err: error });
      return await openPool(this.#options, this.#sizing, this.#layouts.failed()).catch((again: unknown) => {
        this.#failed.resolve(toLabelmillError(again, "INFERENCE_FAILED"));
        // Closed: whatever it is asked for fails, to be tried again elsewhere.
        return this.#pool;
      });
    }
  }

  deviceFailed(error: DeviceError, paddedCost: number): void {
    if (paddedCost > 0) return;
    const message = `${this.model.id}: the device failed on a single item, so this process ends and another may go on: ${error.message}`;
    this.#failed.resolve(new LabelmillError("INFERENCE_FAILED", message, { cause: error }));
  }

  async close(): Promise<void> {
    await this.#pool.close();
    await this.#writing;
  }

  #newBudgets(from: Readonly<Record<number, number>> | undefined, trusted: boolean): Budgets {
    const budgets = new Budgets({ ...this.#sizing.budgets, from, trusted });
    budgets.tooLarge(this.#tooLarge);
    return budgets;
  }

  #noteTooLarge(cost: number, error: DeviceError): void {
    this.#tooLarge = Math.min(this.#tooLarge, cost);
    this.#budgets.tooLarge(cost);
    this.#tell("batches of this padded cost find no memory", { cost, err: error });
  }

  #tell(message: string, detail: Record<string, unknown>): void {
    this.#options.say?.(message, { model: this.model.id, ...detail });
  }

  /** What cannot be remembered is found again at the next start. */
  #remember(): void {
    const { tuningFile, devices } = this.#options;
    if (tuningFile === undefined) return;
    const layout = devices ? {} : { layout: this.layout };
    const tooLarge = Number.isFinite(this.#tooLarge) ? { tooLarge: this.#tooLarge } : {};
    const tuning: Tuning = { v: 1, ...layout, budgets: this.found, ...tooLarge };
    const text = JSON.stringify(tuning);
    if (text === this.#remembered) return;
    this.#remembered = text;
    this.#tell("batch budgets found", { ...tuning });
    this.#writing = this.#writing
      .then(() => writeTuning(tuningFile, tuning))
      .catch((error: unknown) => this.#tell("what was found cannot be remembered", { err: error }));
  }
}

function openLayouts(
  { devices, cores, threads, intraOpThreads }: RunnerOptions,
  tuning: Tuning | undefined,
): LayoutSearch {
  const usual = usualLayout(cores);
  if (devices || threads !== undefined || intraOpThreads !== undefined) {
    const count = devices?.length ?? threads ?? Math.max(1, Math.floor(cores / intraOpThreads!));
    const fixed = { threads: count, intraOpThreads: intraOpThreads ?? Math.max(1, Math.floor(cores / count)) };
    return new LayoutSearch([fixed], fixed);
  }
  const { layout } = tuning ?? {};
  return layout ? new LayoutSearch([layout], layout) : new LayoutSearch(layoutsOf(cores), usual);
}

function openPool(
  { model, devices, thread }: RunnerOptions,
  { warmUp }: Sizing,
  { threads, intraOpThreads }: Layout,
): Promise<SessionPool> {
  const each: readonly Device[] = devices ?? new Array<Device>(threads).fill("cpu");
  return SessionPool.start(
    each.map((device) => setupOf(model, { device, intraOpThreads, warmUp })),
    thread,
  );
}

async function sizingFor({ model, devices, budget, startBudget }: RunnerOptions): Promise<Sizing> {
  const { task, dtype, dir, paddingSide } = model;
  if (!devices) return sizingOf({ task, dtype, kind: "cpu", paddingSide, budget, start: startBudget });
  const longest = task === "text-classification" ? (await readTokenLimits(dir)).maxTokens : undefined;
  return sizingOf({ task, dtype, kind: "cuda", longest, budget, start: startBudget });
}
