/** The result of `verify`. */
export type Verification = {
  ok: boolean;
  run: string | undefined;
  state: string | undefined;
  /** As counted from the parts or files themselves. */
  totals: { parts: number; planned: number; labeled: number; errors: number };
  /** In words, the first hundred. */
  problems: string[];
};

const MAX_PROBLEMS = 100;

/** Collects what `verify` finds in an output: counts and problems. */
export class Findings {
  readonly totals = { parts: 0, planned: 0, labeled: 0, errors: 0 };
  /** Labeled rows by label. */
  readonly labels = new Map<string, number>();
  readonly #problems: string[] = [];
  #count = 0;

  problem(text: string): void {
    this.#count += 1;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(text);
  }

  /** Reports a problem if a value is not the expected one. */
  equal(what: string, got: unknown, expected: unknown): void {
    if (got !== expected) this.problem(`${what}: ${got}, expected ${expected}`);
  }

  addLabels(label: string, rows: number): void {
    this.labels.set(label, (this.labels.get(label) ?? 0) + rows);
  }

  result(run: string | undefined, state: string | undefined): Verification {
    const more = this.#count - this.#problems.length;
    const problems = more > 0 ? [...this.#problems, `and ${more} more`] : this.#problems;
    return { ok: this.#count === 0, run, state, totals: this.totals, problems };
  }
}
