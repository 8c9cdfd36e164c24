import type { Lane } from "../../schemas/names.ts";
import { InteractiveFlow } from "../interactive-flow.ts";

type Admit<T> = (permit: T) => void;

/**
 * Permits that two lanes share. While interactive work keeps coming, bulk work leaves one permit to it, so that interactive work
 * never waits for bulk work that runs. In turn, interactive work leaves one permit to bulk work that waits or runs. With one permit,
 * interactive work only goes first.
 */
export class LanePermits<T> {
  readonly #idle: T[];
  readonly #count: number;
  readonly #flow: InteractiveFlow;
  readonly #running: Record<Lane, number> = { interactive: 0, bulk: 0 };
  readonly #waiting: Record<Lane, Admit<T>[]> = { interactive: [], bulk: [] };

  /** @param now the clock, in ms */
  constructor(permits: readonly T[], now?: () => number) {
    this.#idle = [...permits];
    this.#count = permits.length;
    this.#flow = new InteractiveFlow(now);
  }

  /** Permits that no work has. */
  get idle(): number {
    return this.#idle.length;
  }

  async take(lane: Lane): Promise<T> {
    if (lane === "interactive") this.#flow.note();
    const permit = new Promise<T>((admit) => this.#waiting[lane].push(admit));
    this.#admit();
    return permit;
  }

  giveBack(permit: T, lane: Lane): void {
    this.#running[lane]--;
    this.#idle.push(permit);
    this.#admit();
  }

  #admit(): void {
    for (const lane of ["interactive", "bulk"] as const) {
      while (this.#idle.length > 0 && this.#waiting[lane].length > 0 && this.#running[lane] < this.#most(lane)) {
        this.#running[lane]++;
        this.#waiting[lane].shift()!(this.#idle.pop()!);
      }
    }
  }

  /** The most permits of a lane now. */
  #most(lane: Lane): number {
    const isShared = lane === "bulk" ? this.#flow.keepsComing : this.#running.bulk > 0 || this.#waiting.bulk.length > 0;
    return isShared ? Math.max(1, this.#count - 1) : this.#count;
  }
}
