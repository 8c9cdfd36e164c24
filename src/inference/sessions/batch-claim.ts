const OPEN = 0;
const BEGUN = 1;
const TAKEN_BACK = 2;

/**
 * Decides what happens to a batch that waits on a thread behind the running one: the thread begins it, or the main thread takes it back.
 * The first of the two decides. The word is shared, because the thread reads no messages while it runs a batch.
 */
export class BatchClaim {
  /** Travels with the batch to the thread. */
  readonly shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  #isTakenBack = false;

  /** Whether the main thread took the batch back. */
  get isTakenBack(): boolean {
    return this.#isTakenBack;
  }

  /** Called by the main thread. @returns whether the thread will skip the batch; false: the thread has begun it */
  takeBack(): boolean {
    this.#isTakenBack ||= claim(this.shared, TAKEN_BACK);
    return this.#isTakenBack;
  }

  /** Called by the main thread if the batch begins in another way than on the thread. It cannot be taken back any more. */
  begin(): void {
    claim(this.shared, BEGUN);
  }

  /** Called by the thread. @returns whether to run the batch; false: it was taken back */
  static begin(shared: SharedArrayBuffer): boolean {
    return claim(shared, BEGUN);
  }
}

function claim(shared: SharedArrayBuffer, by: number): boolean {
  return Atomics.compareExchange(new Int32Array(shared), 0, OPEN, by) === OPEN;
}
