import type { Redis } from "ioredis";

/** What is told on channels of Redis, for any number of listeners on one connection. */
export class Channels {
  readonly #subscriber: Redis;
  readonly #listeners = new Map<string, Set<(message: string) => void>>();
  readonly #onMissed = new Set<() => void>();

  /** @param subscriber a connection of its own: one that listens can do nothing else. It subscribes anew when it reconnects */
  constructor(subscriber: Redis) {
    this.#subscriber = subscriber;
    subscriber.on("message", (channel, message) => {
      for (const listener of this.#listeners.get(channel) ?? []) listener(message);
    });
    subscriber.on("ready", () => void this.#listenAgain().catch(() => {}));
  }

  /** @param look called when it listens again after the connection was lost: messages may have been missed */
  onMissed(look: () => void): void {
    this.#onMissed.add(look);
  }

  /** Resolves when it listens. What comes back ends that. Rejects as the connection does, and then nobody listens. */
  async listen(channel: string, listener: (message: string) => void): Promise<() => void> {
    const there = this.#listeners.get(channel) ?? new Set();
    this.#listeners.set(channel, there.add(listener));
    const stop = () => {
      there.delete(listener);
      if (there.size > 0) return;
      this.#listeners.delete(channel);
      // Where the connection is gone there is nothing to end.
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

  /** The client subscribes anew by itself, but does not say when that is done. A loss meanwhile is followed by another `ready`. */
  async #listenAgain(): Promise<void> {
    const channels = [...this.#listeners.keys()];
    if (channels.length === 0) return;
    await this.#subscriber.subscribe(...channels);
    for (const look of this.#onMissed) look();
  }
}
