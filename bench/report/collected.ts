import { messageOf } from "../../src/errors.ts";
import type { Section } from "./section.ts";

/** What was measured so far. A part that fails does not lose the results of the others. */
export class Collected {
  readonly engine: Section[] = [];
  readonly service: Section[] = [];
  readonly bulk: Section[] = [];
  /** What could not be measured here, and why. */
  readonly missing: string[] = [];
  failed = false;
  readonly #signal: AbortSignal;

  /** @param signal ends the benchmark */
  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** @param name of the part */
  async add(to: "engine" | "service" | "bulk", name: string, part: () => Promise<Section>): Promise<void> {
    await this.try(name, async () => {
      this[to].push(await part());
    });
  }

  /** Notes an error, unless the benchmark was aborted. */
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
