import { randomBytes } from "node:crypto";
import type { ObjectStore } from "../../storage/store.ts";

/**
 * The image of a request, in `_uploads/` of the output, where workers read it. Dispose it when the request is answered: no
 * run on record needs it.
 */
export class WaitingImage implements AsyncDisposable {
  readonly #store: ObjectStore;
  readonly #key: string;

  private constructor(store: ObjectStore, key: string) {
    this.#store = store;
    this.#key = key;
  }

  /** Stores the image. @throws LabelmillError STORE_FAILED */
  static async store(store: ObjectStore, bytes: Uint8Array): Promise<WaitingImage> {
    const key = `_uploads/${randomBytes(8).toString("hex")}/0000`;
    await store.put(key, bytes);
    return new WaitingImage(store, key);
  }

  get uri(): string {
    return this.#store.uri + this.#key;
  }

  /** If it cannot be removed, the clean-up of uploads removes it later. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#store.remove(this.#key).catch(() => {});
  }
}
