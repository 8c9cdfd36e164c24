/** Mean duration of a try before one is measured. */
const FIRST_MEAN_MS = 50;
const MIN_WAIT_MS = 20;
/** A delivery comes back at least this often, since its endpoint may have become faster. */
const MAX_WAIT_MS = 10 * 60_000;
/** Groups whose speed is remembered. More are possible; the oldest idle ones are forgotten. */
const MAX_IDLE_GROUPS = 1000;

type Group = { busy: number; meanMs: number; nextAt: number };

/**
 * Bounds the deliveries to one endpoint at a time, so that a slow endpoint does not take the places of others. A delivery
 * without a place gets a time to return at, such that about one returns for each place that becomes free.
 */
export class EndpointSlots {
  readonly #perGroup: number;
  readonly #groups = new Map<string, Group>();

  constructor(perGroup: number) {
    this.#perGroup = perGroup;
  }

  /** Takes a place until it is disposed of. @returns undefined if all are taken */
  take(name: string): Disposable | undefined {
    const group = this.#group(name);
    if (group.busy >= this.#perGroup) return undefined;
    group.busy += 1;
    const startedAt = performance.now();
    return {
      [Symbol.dispose]: () => {
        group.busy -= 1;
        group.meanMs = (group.meanMs + performance.now() - startedAt) / 2;
      },
    };
  }

  /** When a delivery without a place may return: milliseconds from now. Each call reserves a later time. */
  waitMs(name: string): number {
    const group = this.#group(name);
    const now = performance.now();
    group.nextAt = Math.max(now, group.nextAt) + group.meanMs / this.#perGroup;
    return Math.min(Math.max(group.nextAt - now, MIN_WAIT_MS), MAX_WAIT_MS);
  }

  #group(name: string): Group {
    const known = this.#groups.get(name);
    if (known) return known;
    this.#forgetIdle();
    const group = { busy: 0, meanMs: FIRST_MEAN_MS, nextAt: 0 };
    this.#groups.set(name, group);
    return group;
  }

  #forgetIdle(): void {
    if (this.#groups.size < MAX_IDLE_GROUPS) return;
    for (const [name, { busy }] of this.#groups) if (busy === 0) this.#groups.delete(name);
  }
}
