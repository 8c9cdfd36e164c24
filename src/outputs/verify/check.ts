export type Verification = {
  ok: boolean;
  run: string | undefined;
  state: string | undefined;
  /** As counted now, from the parts themselves. */
  totals: { parts: number; planned: number; labeled: number; errors: number };
  /** What is not as it should be, the first hundred. */
  problems: string[];
};

const MAX_PROBLEMS = 100;

/** Gathers what is found of an output, and what is wrong with it. */
export class Check {
  readonly totals = { parts: 0, planned: 0, labeled: 0, errors: 0 };
  readonly labels = new Map<string, number>();
  readonly #problems: string[] = [];
  #count = 0;

  problem(text: string): void {
    this.#count += 1;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(text);
  }

  equal(what: string, came: unknown, expected: unknown): void {
    if (came !== expected) this.problem(`${what}: ${came}, expected ${expected}`);
  }

  result(run: string | undefined, state: string | undefined): Verification {
    const more = this.#count - this.#problems.length;
    const problems = more > 0 ? [...this.#problems, `and ${more} more`] : this.#problems;
    return { ok: this.#count === 0, run, state, totals: this.totals, problems };
  }
}
