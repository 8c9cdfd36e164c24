import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AttemptRecord } from "../../../src/workers/crashes/attempt-record.ts";
import { CRASHES_UNTIL_ISOLATED } from "../../../src/workers/crashes/crash-record.ts";
import {
  type AttemptEntry,
  crashCount,
  type Evidence,
  evidenceOf,
  NO_EVIDENCE,
  type Span,
} from "../../../src/workers/crashes/evidence.ts";
import { planIsolated } from "../../../src/workers/crashes/isolation-plan.ts";

const crash = (by: string, at: Span | null, after = 5) => ({ by, at, after });
const spansOf = (count: number, evidence: Evidence) =>
  planIsolated(count, evidence).pieces.map(({ span: [first, end], noted }) => `${noted ? "" : "-"}${first}..${end}`);

test("without a suspect, a slice runs in groups of √n", () => {
  assert.deepEqual(spansOf(10, NO_EVIDENCE), ["0..4", "4..8", "8..10"]);
  assert.equal(planIsolated(400, NO_EVIDENCE).pieces.length, 20);
  assert.deepEqual(spansOf(1, NO_EVIDENCE), ["0..1"]);
});

test("a suspected group runs item by item, before the others; items that are done run last and are not noted", () => {
  const evidence = { crashes: [crash("a", null), crash("b", [4, 8])], through: [[0, 4]] as Span[] };
  assert.deepEqual(spansOf(10, evidence), ["4..5", "5..6", "6..7", "7..8", "8..10", "-0..4"]);
});

test("an item that ran alone at one crash runs early, but neither first nor in the same place; after a second one it is condemned", () => {
  const at = (after: number) => ({
    crashes: [crash("a", [4, 8]), crash("b", [6, 7], after)],
    through: [[4, 6]] as Span[],
  });
  assert.deepEqual(spansOf(10, at(2)), ["-4..5", "6..7", "7..8", "0..4", "8..10", "-5..6"]);
  assert.deepEqual(spansOf(10, at(1)), ["-4..5", "-5..6", "6..7", "7..8", "0..4", "8..10"]);
  const { condemned } = planIsolated(10, { ...at(2), crashes: [...at(2).crashes, crash("c", [6, 7])] });
  assert.deepEqual(condemned, new Set([6]));
});

test("one process that noted an item twice counts as one crash; an item that is done is never condemned", () => {
  const crashes = [crash("a", [6, 7]), crash("a", [6, 7])];
  assert.deepEqual(planIsolated(10, { crashes, through: [] }).condemned, new Set());
  const through: Span[] = [[6, 7]];
  assert.deepEqual(planIsolated(10, { crashes: [...crashes, crash("b", [6, 7])], through }).condemned, new Set());
});

/** A slice over many processes, with the real accounting of what each does before it dies. */
class Life {
  readonly tries = new Map<string, AttemptEntry>();
  crashes = 0;
  /** Crashes that poison caused. */
  poisonings = 0;
  /** For each item, the number of attempts in which it ran alone at a kill from outside. */
  readonly hits = new Map<number, number>();
  readonly #count: number;
  readonly #poison: ReadonlySet<number>;

  constructor(count: number, poison: ReadonlySet<number>) {
    this.#count = count;
    this.#poison = poison;
  }

  /**
   * @param kill the process is killed from outside in this piece, or after the last one if there are fewer
   * @returns the items in error, or undefined if the process died
   */
  async live(kill?: (pieces: number) => number): Promise<Set<number> | undefined> {
    const start = `p${this.crashes}`;
    const dead = new Set(Array.from({ length: this.crashes }, (_, i) => `p${i}`));
    const evidence = evidenceOf(this.tries, dead);
    const save = async (entry: AttemptEntry) => void this.tries.set(start, entry);
    const attempt = new AttemptRecord(start, { save, forget: async () => {} }, evidence);
    await save(attempt.entry);
    const isolated = crashCount(evidence) >= CRASHES_UNTIL_ISOLATED;
    const whole = { condemned: new Set<number>(), pieces: [{ span: [0, this.#count] as Span, noted: false }] };
    const { condemned, pieces } = isolated ? planIsolated(this.#count, evidence) : whole;
    const killedAt = kill && Math.min(pieces.length, kill(pieces.length));
    let step = 0;
    for (const { span, noted } of pieces) {
      if (isolated) await attempt.note(noted ? span : null);
      const items = Array.from({ length: span[1] - span[0] }, (_, i) => span[0] + i).filter((i) => !condemned.has(i));
      const isPoisoned = items.some((item) => this.#poison.has(item));
      if (step++ !== killedAt && !isPoisoned) continue;
      this.crashes += 1;
      if (isPoisoned) this.poisonings += 1;
      else if (noted && items.length === 1) this.hits.set(items[0]!, (this.hits.get(items[0]!) ?? 0) + 1);
      return undefined;
    }
    if (isolated) await attempt.note(null);
    if (step++ !== killedAt) return new Set(condemned);
    this.crashes += 1;
    return undefined;
  }

  /** Runs through a schedule of kills from outside, then without kills. */
  async toItsEnd(schedule: readonly ((pieces: number) => number)[]): Promise<Set<number>> {
    const bound = schedule.length + 3 * this.#poison.size + CRASHES_UNTIL_ISOLATED;
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
      assert.ok(life.crashes <= 5, `${life.crashes} crashes`);
    }),
  );
});

/** Kills at random places of the slice, from its first piece to after its last. */
const schedules = fc
  .array(fc.nat(), { maxLength: 40 })
  .map((kills) => kills.map((kill) => (n: number) => kill % (n + 1)));

test("under any kills from outside the slice ends; without poison, only an item that two kills hit while it ran alone is in error", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 150 }), schedules, async (count, schedule) => {
      const life = new Life(count, new Set());
      const condemned = await life.toItsEnd(schedule);
      assert.equal(life.crashes, schedule.length);
      for (const item of condemned) assert.ok(life.hits.get(item)! >= 2, `item ${item} was hit less than twice`);
    }),
    { numRuns: 500 },
  );
});

test("with poison, exactly the poison is in error, at three more crashes for each poison item and two for the slice", async () => {
  const poisons = fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 4, max: 150 }), poisons, schedules, async (count, wanted, schedule) => {
      const poison = new Set(wanted.map((item) => item % count));
      const life = new Life(count, poison);
      const condemned = await life.toItsEnd(schedule);
      for (const item of poison) assert.ok(condemned.has(item), `poison ${item} is labeled`);
      for (const item of condemned)
        assert.ok(poison.has(item) || life.hits.get(item)! >= 2, `item ${item} is in error`);
      assert.ok(life.poisonings <= 2 + 3 * poison.size, `${life.poisonings} crashes for ${poison.size} poison items`);
    }),
    { numRuns: 500 },
  );
});

test("repeated kills at the same place condemn nothing", async () => {
  // Like kills by a liveness probe, by a timer, or by a memory limit that the first batch exceeds.
  for (const count of [16, 100, 400])
    for (let step = 0; step < 40; step++) {
      const life = new Life(count, new Set());
      const condemned = await life.toItsEnd(Array.from({ length: 12 }, () => () => step));
      assert.deepEqual(condemned, new Set(), `${count} items, killed at piece ${step}`);
      assert.equal(life.crashes, 12);
    }
});
