import { randomBytes } from "node:crypto";
import pLimit from "p-limit";
import { uploadKey, uploadRunKey } from "../../schemas/names.ts";
import type { Body, ObjectStore } from "../../storage/store.ts";

/** Images of a request that are written at a time. */
const AT_ONCE = 8;

/** The images that a request brought, in `_uploads/` of the output, where workers read them. */
export class Upload {
  readonly #store: ObjectStore;
  readonly #id: string;
  readonly #keys: string[] = [];

  /** @param run the run of the images, if it is known before they are stored */
  constructor(store: ObjectStore, run?: string) {
    this.#store = store;
    this.#id = run ?? randomBytes(8).toString("hex");
  }

  /** The id of the upload: that of its run, or one that a new run can have. */
  get id(): string {
    return this.#id;
  }

  /**
   * Stores an image. Its bytes are written once: an image that is there stays.
   * @returns the URI of the image
   */
  async add(number: number, bytes: Uint8Array): Promise<string> {
    const key = this.#keyOf(number);
    await this.#store.putIfAbsent(key, bytes);
    return this.#store.uri + key;
  }

  /** Stores an image while it arrives. The upload must be new, with an id of its own. An error of `body` is thrown unchanged. */
  async addStream(number: number, body: Exclude<Body, Uint8Array>): Promise<string> {
    const key = this.#keyOf(number);
    await this.#store.put(key, body);
    return this.#store.uri + key;
  }

  /** Stores several images, some at a time. @returns their URIs, in order */
  async addAll(images: readonly { number: number; bytes: Uint8Array }[]): Promise<string[]> {
    const limit = pLimit(AT_ONCE);
    return Promise.all(images.map(({ number, bytes }) => limit(() => this.add(number, bytes))));
  }

  /** Names the run of an upload with another id. To be called before the run is submitted. */
  async belongsTo(run: string): Promise<void> {
    if (run === this.#id) return;
    const key = uploadRunKey(this.#id, run);
    this.#keys.push(key);
    await this.#store.putIfAbsent(key, new Uint8Array());
  }

  /** Removes what was stored, for a request that is refused or that another upload has brought before. */
  async remove(): Promise<void> {
    await Promise.all(this.#keys.map((key) => this.#store.remove(key)));
  }

  #keyOf(number: number): string {
    const key = uploadKey(this.#id, number);
    this.#keys.push(key);
    return key;
  }
}
