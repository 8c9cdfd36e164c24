import { type Attempt, type Evidence, merged, NO_EVIDENCE, type Span } from "./evidence.ts";

/** Keeps what a try records, where it outlives the process. */
export type AttemptStore = {
  save(entry: Attempt): Promise<void>;
  /** Drops all that is known of the slice. */
  forget(): Promise<void>;
};

/** One try of a slice by this process: what earlier tries told, and what this one records. */
export class AttemptRecord {
  readonly evidence: Evidence;
  /** Earlier tries that lost a device. */
  readonly deviceLosses: number;
  readonly #store: AttemptStore;
  #entry: Attempt;
  #pieces = 0;

  constructor(start: string, store: AttemptStore, evidence: Evidence = NO_EVIDENCE, deviceLosses = 0) {
    this.evidence = evidence;
    this.deviceLosses = deviceLosses;
    this.#store = store;
    this.#entry = { start, at: null, after: 0, through: [...evidence.through] };
  }

  /** As it stands now. */
  get entry(): Attempt {
    return this.#entry;
  }

  /**
   * Records that the items of `span`, the next piece of the slice, are about to run alone; null: nothing that a death could be blamed on. What
   * was recorded before has come through. Resolves when it is kept.
   */
  async note(span: Span | null): Promise<void> {
    const { at, through } = this.#entry;
    const after = this.#pieces++;
    await this.#save({ at: span, after, through: at ? merged([...through, at]) : through });
  }

  /** The slice goes back unfinished, and the process is well: no death. */
  async giveBack(): Promise<void> {
    await this.#save({ at: null, end: "left" });
  }

  /** The device, or its thread, was lost with items of the slice: as if the process had died on them. */
  async lost(): Promise<void> {
    await this.#save({ end: "lost" });
  }

  /** The slice is done. */
  async end(): Promise<void> {
    await this.#store.forget();
  }

  async #save(change: Partial<Attempt>): Promise<void> {
    this.#entry = { ...this.#entry, ...change };
    await this.#store.save(this.#entry);
  }
}
