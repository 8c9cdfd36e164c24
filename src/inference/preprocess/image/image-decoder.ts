import { LabelmillError } from "../../../errors.ts";
import type { Lane } from "../../../schemas/names.ts";
import type { ImageRecipe } from "../../model/image-recipe.ts";
import { decodePicture, openPicture } from "./decode-image.ts";
import { DecodeWatchdog } from "./decode-watchdog.ts";
import { type Release, WeightedSemaphore } from "./weighted-semaphore.ts";

/** The most time after the limit before a decode counts as stuck: libvips stops by itself if it can, at whole seconds. */
const GRACE_MS = 1_500;
/** Time limit for waiting for a thread of the pool, in ms: a file system may hang for a while. */
const POOL_MS = 60_000;

export type DecodeLimits = {
  /** The most memory of all decodes together, in bytes, as estimated from the headers. A decode over the limit runs alone. */
  budgetBytes: number;
  /** Time limit of one decode, in ms, without waiting for other decodes and for a thread of the pool. */
  timeoutMs: number;
  /** Threads of libuv's pool, in which sharp decodes. */
  threads: number;
  /** Additional time before a decode counts as stuck, in ms. Default: GRACE_MS, at most `timeoutMs`. */
  graceMs?: number;
  /** Time limit for waiting for a thread of the pool, in ms. After it the slice fails, not the image. Default: POOL_MS. */
  poolMs?: number;
};

/** Decodes in progress for each thread of the pool: a thread must not wait while the main thread starts the next pass. */
const SLOTS_PER_THREAD = 2;

/**
 * Decodes the images of a process, at most two at a time for each thread of the pool, within a memory limit. A decode that takes too long
 * continues, since native code cannot be stopped. Its thread and its memory count as lost until it ends.
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
    this.#slots = new WeightedSemaphore(SLOTS_PER_THREAD * limits.threads);
    this.#room = new WeightedSemaphore(limits.budgetBytes);
  }

  /** Threads with a decode that exceeded its time limit and has not ended. */
  get lost(): number {
    return this.#lost;
  }

  /** The estimated memory of the current decodes, in bytes. */
  get heldBytes(): number {
    return this.#room.held;
  }

  /** Settles with the reason when half of the threads are lost, or no thread was free for too long. Only a new process recovers. */
  get failed(): Promise<LabelmillError> {
    return this.#failed.promise;
  }

  /**
   * Decodes an image as `decodeImage` does. The lanes take turns, so that an interactive image does not wait for all bulk images.
   *
   * @throws LabelmillError IMAGE_TOO_LARGE, IMAGE_INVALID, IMAGE_TIMEOUT, or INFERENCE_FAILED (half of the threads are lost, or no
   * thread was free for too long); and the signal's reason
   */
  async decode(bytes: Uint8Array, recipe: ImageRecipe, signal?: AbortSignal, lane?: Lane): Promise<Uint8Array> {
    const slot = await this.#slots.take(1, lane);
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
      room = await this.#room.take(picture.peakBytes, lane);
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

  /** The result of `begin`, or the error if it is stuck. A later result is dropped. */
  async #bounded<T>(begin: (watchdog: DecodeWatchdog) => Promise<T>): Promise<T> {
    using watchdog = new DecodeWatchdog(this.#limits);
    const work = begin(watchdog);
    const stuck = watchdog.stuck.catch((error: LabelmillError) => {
      throw error.code === "IMAGE_TIMEOUT" ? this.#lose(work, error) : this.#fail(error);
    });
    return await Promise.race([work, stuck]);
  }

  /** Counts a thread as lost until its work ends. If half of the threads are lost, the slice fails: a new process must retry it. */
  #lose(work: Promise<unknown>, late: LabelmillError): LabelmillError {
    this.#lost += 1;
    const recovered = () => {
      this.#lost -= 1;
    };
    work.then(recovered, recovered);
    const { threads } = this.#limits;
    if (this.#lost * 2 < threads) return late;
    const message = `${this.#lost} of ${threads} threads that decode images are stuck: restart the process`;
    return this.#fail(new LabelmillError("INFERENCE_FAILED", message));
  }

  #fail(failure: LabelmillError): LabelmillError {
    this.#failure ??= failure;
    for (const semaphore of [this.#slots, this.#room]) semaphore.close(this.#failure);
    this.#failed.resolve(this.#failure);
    return this.#failure;
  }
}
