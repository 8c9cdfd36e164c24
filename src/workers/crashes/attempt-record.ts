import { type AttemptEntry, type Evidence, merged, NO_EVIDENCE, type Span } from "./evidence.ts";

/** Saves what an attempt records, in a place that survives the process. */
export type AttemptStore = {
  save(entry: AttemptEntry): Promise<void>;
  /** Deletes everything that is recorded about the slice. */
  forget(): Promise<void>;
};

/** One attempt of a slice by this process: the evidence of earlier attempts, and the record of this one. */
export class AttemptRecord {
  readonly evidence: Evidence;
  /** Number of earlier attempts that lost a device. */
  readonly deviceLosses: number;
  readonly #store: AttemptStore;
  #entry: AttemptEntry;
  #pieces = 0;

  constructor(start: string, store: AttemptStore, evidence: Evidence = NO_EVIDENCE, deviceLosses = 0) {
    this.evidence = evidence;
    this.deviceLosses = deviceLosses;
    this.#store = store;
    this.#entry = { start, at: null, after: 0, through: [...evidence.through] };
  }

  get entry(): AttemptEntry {
    return this.#entry;
  }

  /**
   * Records that the items of `span`, the next piece of the slice, are about to run isolated. Null: no item is running
   * that a crash could be blamed on. The items of the call before are done. Resolves when the record is saved.
   */
  async note(span: Span | null): Promise<void> {
    const { at, through } = this.#entry;
    const after = this.#pieces++;
    await this.#save({ at: span, after, through: at ? merged([...through, at]) : through });
  }

  /** Records that a healthy process gives the slice back unfinished: this is no crash. */
  async giveBack(): Promise<void> {
    await this.#save({ at: null, end: "left" });
  }

  /** Records that the device or its thread failed with items of the slice. This counts as a crash of the process. */
  async lost(): Promise<void> {
    await this.#save({ end: "lost" });
  }

  /** The slice is done: deletes its evidence. */
  async end(): Promise<void> {
    await this.#store.forget();
  }

  async #save(change: Partial<AttemptEntry>): Promise<void> {
    this.#entry = { ...this.#entry, ...change };
    await this.#store.save(this.#entry);
  }
}
