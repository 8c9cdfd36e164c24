import { messageOf } from "../src/errors.ts";
import type { Section } from "./section.ts";

/** What was measured so far; a part that fails costs itself, not the hour that the others took. */
export class Collected {
  readonly engine: Section[] = [];
  readonly service: Section[] = [];
  readonly bulk: Section[] = [];
  /** What could not be measured here, and why. */
  readonly missing: string[] = [];
  failed = false;
  readonly #signal: AbortSignal;

  /** @param signal ends it all */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** @param name of the part */
  async add(to: "engine" | "service" | "bulk", name: string, part: () => Promise<Section>): Promise<void> {
    await this.try(name, async () => {
      this[to].push(await part());
    });
  }

  /** Notes what is thrown, unless that was to end it all. */
  async try(name: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#signal.throwIfAborted();
      this.failed = true;
      this.missing.push(`${name} failed: ${messageOf(error)}`);
    }
  }
}
