import type { Redis } from "ioredis";

/** Messages on Redis channels, for any number of listeners on one connection. */
export class Channels {
  readonly #subscriber: Redis;
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  readonly #onMissed = new Set<() => void>();

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
      if (listeners.size > 0) return;
      this.#listeners.delete(channel);
      // On a closed connection there is no subscription to end.
      this.#subscriber.unsubscribe(channel).catch(() => {});
    };
    try {
      await this.#subscriber.subscribe(channel);
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  /** ioredis subscribes again by itself, but does not report when. A connection that is lost meanwhile causes another `ready` event. */
  async #resubscribe(): Promise<void> {
    const channels = [...this.#listeners.keys()];
    if (channels.length === 0) return;
    await this.#subscriber.subscribe(...channels);
    for (const listener of this.#onMissed) listener();
  }
}
