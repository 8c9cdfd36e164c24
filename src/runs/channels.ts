import { setImmediate as nextTurn } from "node:timers/promises";
import type { Redis } from "ioredis";

/** Messages on Redis channels, for any number of listeners on one connection. */
export class Channels {
  readonly #subscriber: Redis;
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  readonly #onMissed = new Set<() => void>();
  /** Channels to subscribe to in the next turn of the event loop, and to leave: many singles share a command. */
  readonly #joining = new Set<string>();
  #joined: Promise<void> | undefined;
  readonly #leaving = new Set<string>();
  #isLeaving = false;

  /** @param subscriber a connection for nothing else: a subscribed connection accepts no other commands. It subscribes again when it reconnects */
  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    subscriber.on("message", (channel, message) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(message);
    });
    subscriber.on("ready", () => void this.#resubscribe().catch(() => {}));
  }

  /** @param listener called when the subscriptions are back after a lost connection: messages may have been missed */
  onMissed(listener: () => void): void {
    this.#onMissed.add(listener);
  }

  /**
   * Subscribes to a channel. Rejects if the connection fails; the listener is removed then.
   * @returns a function that ends the subscription
   */
  async listen(channel: string, listener: (message: string) => void): Promise<() => void> {
    const listeners = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, listeners.add(listener));
    const stop = () => {
      listeners.delete(listener);
      if (listeners.size > 0 || this.#listeners.get(channel) !== listeners) return;
      this.#listeners.delete(channel);
      this.#leave(channel);
    };
    try {
      await this.#join(channel);
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  async #join(channel: string): Promise<void> {
    this.#leaving.delete(channel);
    this.#joining.add(channel);
    this.#joined ??= nextTurn().then(async () => {
      const channels = [...this.#joining];
      this.#joining.clear();
      this.#joined = undefined;
      await this.#subscriber.subscribe(...channels);
    });
    await this.#joined;
  }

  #leave(channel: string): void {
    this.#joining.delete(channel);
    this.#leaving.add(channel);
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    setImmediate(() => {
      this.#isLeaving = false;
      const channels = [...this.#leaving];
      this.#leaving.clear();
      // On a closed connection there is no subscription to end.
      if (channels.length > 0) this.#subscriber.unsubscribe(...channels).catch(() => {});
    });
  }

  /** ioredis subscribes again by itself, but does not report when. A connection that is lost meanwhile causes another `ready` event. */
  async #resubscribe(): Promise<void> {
    const channels = [...this.#listeners.keys()];
    if (channels.length === 0) return;
    await this.#subscriber.subscribe(...channels);
    for (const listener of this.#onMissed) listener();
  }
}
