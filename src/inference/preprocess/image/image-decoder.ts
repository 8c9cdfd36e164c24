import { LabelmillError } from "../../../errors.ts";
import type { ImageRecipe } from "../../model/image-recipe.ts";
import { decodePicture, openPicture } from "./decode-image.ts";
import { DecodeWatchdog } from "./decode-watchdog.ts";
import { type Release, WeightedSemaphore } from "./weighted-semaphore.ts";

/** The most that is added to the time limit before a decode counts as stuck: libvips ends what it can by itself, in whole seconds. */
const GRACE_MS = 1_500;
/** The longest that a decode may wait for a thread of the pool, in ms: a file system may hang for a while. */
const POOL_MS = 60_000;

export type DecodeLimits = {
  /** The most memory of all decodes at a time, in bytes, as estimated from the headers. One over it runs alone. */
  budgetBytes: number;
  /** How long one decode may take, in ms, without what it waits for others and for a thread of the pool. */
  timeoutMs: number;
  /** Threads of libuv's pool, which is where sharp decodes. */
  threads: number;
  graceMs?: number;
  /** How long a decode may wait for a thread of the pool, in ms. After that its slice fails, and not the picture. */
  poolMs?: number;
};

/** Pictures at work for each thread of the pool: a thread must not wait while the main thread turns from one pass to the next. */
const SLOTS_A_THREAD = 2;

/**
 * Decodes the pictures of a process, at most two at a time for each thread of the pool, as far as the memory has room. A decode that takes
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
    this.#limits = { graceMs: Math.min(GRACE_MS, limits.timeoutMs), poolMs: POOL_MS, ...limits };
    this.#slots = new WeightedSemaphore(SLOTS_A_THREAD * limits.threads);
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

  /** Settles with the reason when half of the threads are lost, or none was free for long: only a new process gets them back. */
  get failed(): Promise<LabelmillError> {
    return this.#failed.promise;
  }

  /**
   * The picture as `decodeImage` gives it.
   *
   * @throws LabelmillError IMAGE_TOO_LARGE, IMAGE_INVALID, IMAGE_TIMEOUT, INFERENCE_FAILED (half of the threads are lost, or none was free for long), and
   * what the signal was aborted with
   */
  async decode(bytes: Uint8Array, recipe: ImageRecipe, signal?: AbortSignal): Promise<Uint8Array> {
    const slot = await this.#slots.take(1);
    let room: Release | undefined;
    let running: Promise<unknown> | undefined;
    try {
      signal?.throwIfAborted();
      const picture = await this.#bounded((watchdog) => {
        watchdog.beginPass();
        const opening = openPicture(bytes, recipe);
        running = opening;
        return opening;
      });
      room = await this.#room.take(picture.peakBytes);
      signal?.throwIfAborted();
      return await this.#bounded((watchdog) => {
        const secondsLeft = () => Math.ceil(watchdog.beginPass() / 1000);
        const decoding = decodePicture(bytes, picture, recipe, { secondsLeft });
        running = decoding;
        return decoding;
      });
    } finally {
      const release = () => {
        slot();
        room?.();
      };
      if (running) running.then(release, release);
      else release();
    }
  }

  /** The outcome of what `begin` begins, or why it is stuck; what comes of it then is dropped. */
  async #bounded<T>(begin: (watchdog: DecodeWatchdog) => Promise<T>): Promise<T> {
    using watchdog = new DecodeWatchdog(this.#limits);
    const work = begin(watchdog);
    const stuck = watchdog.stuck.catch((error: LabelmillError) => {
      throw error.code === "IMAGE_TIMEOUT" ? this.#lose(work, error) : this.#fail(error);
    });
    return await Promise.race([work, stuck]);
  }

  /** Counts a thread as lost until its work ends. The last one that may be lost fails its slice: else its picture would go round for ever. */
  #lose(work: Promise<unknown>, late: LabelmillError): LabelmillError {
    this.#lost += 1;
    const found = () => {
      this.#lost -= 1;
    };
    work.then(found, found);
    const { threads } = this.#limits;
    if (this.#lost * 2 < threads) return late;
    const message = `${this.#lost} of ${threads} threads that decode images are stuck: a new process is needed`;
    return this.#fail(new LabelmillError("INFERENCE_FAILED", message));
  }

  #fail(failure: LabelmillError): LabelmillError {
    this.#failure ??= failure;
    for (const semaphore of [this.#slots, this.#room]) semaphore.close(this.#failure);
    this.#failed.resolve(this.#failure);
    return this.#failure;
  }
}
