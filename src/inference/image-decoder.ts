import { LabelmillError } from "../errors.ts";
import { decodePicture, imageTimeout, openPicture } from "./image.ts";
import type { ImageRecipe } from "./image-recipe.ts";
import { type Release, WeightedSemaphore } from "./weighted-semaphore.ts";

/** The most that is added to the time limit before a decode counts as stuck: libvips ends what it can by itself, in whole seconds. */
const GRACE_MS = 1_500;

export type DecodeLimits = {
  /** The most memory of all decodes at a time, in bytes, as estimated from the headers. One over it runs alone. */
  budgetBytes: number;
  /** How long one decode may take, in ms, without what it waits for others. */
  timeoutMs: number;
  /** Threads of libuv's pool, which is where sharp decodes. */
  threads: number;
  graceMs?: number;
};

/**
 * Decodes the pictures of a process, as many at a time as the pool has threads and the memory has room. A decode that takes
 * too long is left alone: native code cannot be stopped. Its thread and its memory count as lost until it ends.
 */
export class ImageDecoder {
  readonly #limits: Required<DecodeLimits>;
  readonly #slots: WeightedSemaphore;
  readonly #room: WeightedSemaphore;
  readonly #failed = Promise.withResolvers<LabelmillError>();
  #failure: LabelmillError | undefined;
  #lost = 0;

  constructor(limits: DecodeLimits) {
    this.#limits = { graceMs: Math.min(GRACE_MS, limits.timeoutMs), ...limits };
    this.#slots = new WeightedSemaphore(limits.threads);
    this.#room = new WeightedSemaphore(limits.budgetBytes);
  }

  /** Threads whose decode has run out of time and has not ended. */
  get lost(): number {
    return this.#lost;
  }

  /** Bytes that decodes take now, as estimated. */
  get heldBytes(): number {
    return this.#room.held;
  }

  /** Settles with the reason when half of the threads are lost: only a new process gets them back. */
  get failed(): Promise<LabelmillError> {
    return this.#failed.promise;
  }

  /**
   * The picture as `decodeImage` gives it.
   *
   * @throws LabelmillError IMAGE_TOO_LARGE, IMAGE_INVALID, IMAGE_TIMEOUT, INFERENCE_FAILED (half of the threads are lost), and
   * what the signal was aborted with
   */
  async decode(bytes: Uint8Array, recipe: ImageRecipe, signal?: AbortSignal): Promise<Uint8Array> {
    const slot = await this.#slots.take(1);
    let room: Release | undefined;
    let running: Promise<unknown> | undefined;
    try {
      signal?.throwIfAborted();
      const opening = openPicture(bytes, recipe);
      running = opening;
      const picture = await this.#bounded(opening);
      room = await this.#room.take(picture.peakBytes);
      signal?.throwIfAborted();
      const end = performance.now() + this.#limits.timeoutMs;
      const secondsLeft = () => Math.max(1, Math.ceil((end - performance.now()) / 1000));
      const decoding = decodePicture(bytes, picture, recipe, { secondsLeft });
      running = decoding;
      return await this.#bounded(decoding);
    } finally {
      const release = () => {
        slot();
        room?.();
      };
      if (running) running.then(release, release);
      else release();
    }
  }

  /** The outcome of `work`, or IMAGE_TIMEOUT when the time is over; what comes of it then is dropped. */
  async #bounded<T>(work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(this.#lose(work)), this.#limits.timeoutMs + this.#limits.graceMs);
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Counts a thread as lost until its work ends. The last one that may be lost fails its slice: else its picture would go round for ever. */
  #lose(work: Promise<unknown>): LabelmillError {
    this.#lost += 1;
    const found = () => {
      this.#lost -= 1;
    };
    work.then(found, found);
    const { threads } = this.#limits;
    if (this.#lost * 2 < threads) return imageTimeout();
    const message = `${this.#lost} of ${threads} threads that decode images are stuck: a new process is needed`;
    this.#failure ??= new LabelmillError("INFERENCE_FAILED", message);
    for (const semaphore of [this.#slots, this.#room]) semaphore.close(this.#failure);
    this.#failed.resolve(this.#failure);
    return this.#failure;
  }
}
