import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { planAlone } from "../../../src/workers/losses/alone-plan.ts";
import {
  deathsIn,
  type Evidence,
  evidenceOf,
  NO_EVIDENCE,
  type Span,
  type Try,
} from "../../../src/workers/losses/evidence.ts";
import { DEATHS_UNTIL_ALONE } from "../../../src/workers/losses/losses.ts";
import { Trial } from "../../../src/workers/losses/trial.ts";

const death = (by: string, at: Span | null, after = 5) => ({ by, at, after });
const spansOf = (count: number, evidence: Evidence) =>
  planAlone(count, evidence).pieces.map(({ span: [first, end], noted }) => `${noted ? "" : "-"}${first}..${end}`);

test("without a suspect: groups of √n", () => {
  assert.deepEqual(spansOf(10, NO_EVIDENCE), ["0..4", "4..8", "8..10"]);
  assert.equal(planAlone(400, NO_EVIDENCE).pieces.length, 20);
  assert.deepEqual(spansOf(1, NO_EVIDENCE), ["0..1"]);
});

test("a suspected group runs item by item, before the others; what came through runs last and is not noted", () => {
  const evidence = { deaths: [death("a", null), death("b", [4, 8])], through: [[0, 4]] as Span[] };
  assert.deepEqual(spansOf(10, evidence), ["4..5", "5..6", "6..7", "7..8", "8..10", "-0..4"]);
});

test("an item that ran by itself at one death runs early, but neither first nor in the same place; at a second one it is condemned", () => {
  const at = (after: number) => ({
    deaths: [death("a", [4, 8]), death("b", [6, 7], after)],
    through: [[4, 6]] as Span[],
  });
  assert.deepEqual(spansOf(10, at(2)), ["-4..5", "6..7", "7..8", "0..4", "8..10", "-5..6"]);
  assert.deepEqual(spansOf(10, at(1)), ["-4..5", "-5..6", "6..7", "7..8", "0..4", "8..10"]);
  const { condemned } = planAlone(10, { ...at(2), deaths: [...at(2).deaths, death("c", [6, 7])] });
  assert.deepEqual(condemned, new Set([6]));
});

test("one process that noted an item twice died once; an item that came through is never condemned", () => {
  const deaths = [death("a", [6, 7]), death("a", [6, 7])];
  assert.deepEqual(planAlone(10, { deaths, through: [] }).condemned, new Set());
  const through: Span[] = [[6, 7]];
  assert.deepEqual(planAlone(10, { deaths: [...deaths, death("b", [6, 7])], through }).condemned, new Set());
});

/** A slice's life over many processes: what each does before it dies, by the real accounting. */
class Life {
  readonly tries = new Map<string, Try>();
  deaths = 0;
  /** Those that poison caused. */
  crashes = 0;
  /** By item: in how many tries it ran by itself when a kill from outside came. */
  readonly hits = new Map<number, number>();
  readonly #count: number;
  readonly #poison: ReadonlySet<number>;

  constructor(count: number, poison: ReadonlySet<number>) {
    this.#count = count;
    this.#poison = poison;
  }

  /**
   * @param kill the process is killed from outside in this piece, or, if there are not so many, after the last one
   * @returns the items in error, or undefined if the process died
   */
  async live(kill?: (pieces: number) => number): Promise<Set<number> | undefined> {
    const start = `p${this.deaths}`;
    const dead = new Set(Array.from({ length: this.deaths }, (_, i) => `p${i}`));
    const evidence = evidenceOf(this.tries, dead);
    const save = async (entry: Try) => void this.tries.set(start, entry);
    const trial = new Trial(start, { save, forget: async () => {} }, evidence);
    await save(trial.entry);
    const alone = deathsIn(evidence) >= DEATHS_UNTIL_ALONE;
    const whole = { condemned: new Set<number>(), pieces: [{ span: [0, this.#count] as Span, noted: false }] };
    const { condemned, pieces } = alone ? planAlone(this.#count, evidence) : whole;
    const killedAt = kill && Math.min(pieces.length, kill(pieces.length));
    let step = 0;
    for (const { span, noted } of pieces) {
      if (alone) await trial.note(noted ? span : null);
      const items = Array.from({ length: span[1] - span[0] }, (_, i) => span[0] + i).filter((i) => !condemned.has(i));
      const crashes = items.some((item) => this.#poison.has(item));
      if (step++ !== killedAt && !crashes) continue;
      this.deaths += 1;
      if (crashes) this.crashes += 1;
      else if (noted && items.length === 1) this.hits.set(items[0]!, (this.hits.get(items[0]!) ?? 0) + 1);
      return undefined;
    }
    if (alone) await trial.note(null);
    if (step++ !== killedAt) return new Set(condemned);
    this.deaths += 1;
    return undefined;
  }

  /** Through a schedule of kills from outside, then undisturbed. */
  async toItsEnd(schedule: readonly ((pieces: number) => number)[]): Promise<Set<number>> {
    const bound = schedule.length + 3 * this.#poison.size + DEATHS_UNTIL_ALONE;
    for (let turn = 0; ; turn++) {
      assert.ok(turn <= bound, `no end after ${turn} processes`);
      const ended = await this.live(schedule[turn]);
      if (ended) return ended;
    }
  }
}

test("a poison item is found in at most five crashes, and nothing else is in error", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 300 }), fc.nat(), async (count, at) => {
      const poison = new Set([at % count]);
      const life = new Life(count, poison);
      assert.deepEqual(await life.toItsEnd([]), poison);
      assert.ok(life.deaths <= 5, `${life.deaths} crashes`);
    }),
  );
});

/** Each kill at a random place of the slice, between its first piece and after its last. */
const schedules = fc
  .array(fc.nat(), { maxLength: 40 })
  .map((kills) => kills.map((kill) => (n: number) => kill % (n + 1)));

test("whatever kills come from outside, the slice ends; without poison no item is in error unless two of them hit it by itself", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 150 }), schedules, async (count, schedule) => {
      const life = new Life(count, new Set());
      const condemned = await life.toItsEnd(schedule);
      assert.equal(life.deaths, schedule.length);
      for (const item of condemned) assert.ok(life.hits.get(item)! >= 2, `item ${item} was hit less than twice`);
    }),
    { numRuns: 500 },
  );
});

test("with poison, exactly the poison is in error, and it adds at most three crashes an item and two a slice", async () => {
  const poisons = fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 4, max: 150 }), poisons, schedules, async (count, wanted, schedule) => {
      const poison = new Set(wanted.map((item) => item % count));
      const life = new Life(count, poison);
      const condemned = await life.toItsEnd(schedule);
      for (const item of poison) assert.ok(condemned.has(item), `poison ${item} is labeled`);
      for (const item of condemned)
        assert.ok(poison.has(item) || life.hits.get(item)! >= 2, `item ${item} is in error`);
      assert.ok(life.crashes <= 2 + 3 * poison.size, `${life.crashes} crashes for ${poison.size} poison items`);
    }),
    { numRuns: 500 },
  );
});

test("kills that come again and again at the same place condemn nothing", async () => {
  // As a liveness probe does, a reclaim by the clock, or a memory limit that the first batch exceeds.
  for (const count of [16, 100, 400])
    for (let step = 0; step < 40; step++) {
      const life = new Life(count, new Set());
      const condemned = await life.toItsEnd(Array.from({ length: 12 }, () => () => step));
      assert.deepEqual(condemned, new Set(), `${count} items, killed at piece ${step}`);
      assert.equal(life.deaths, 12);
    }
});
