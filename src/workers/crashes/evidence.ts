import { z } from "zod";

const IndexSchema = z.int().nonnegative();
const SpanSchema = z.tuple([IndexSchema, IndexSchema]);

/** Items of a slice, by index: from the first, up to the second, which is not included. */
export type Span = z.infer<typeof SpanSchema>;

/** What is recorded of one try of a slice, so that it outlives the process that made it. */
export const AttemptSchema = z.object({
  /** The process that made it, by an id that is new at each start. */
  start: z.string().min(1).max(64),
  /** The items that run alone at the moment; null if nothing runs that a death could be blamed on. */
  at: SpanSchema.nullable(),
  /** Pieces of the slice that ran in this try before those of `at`. */
  after: IndexSchema,
  /** Items that ran alone and came through, in this try or in an earlier one. */
  through: z.array(SpanSchema),
  /** `left`: the slice went back and the process was well. `lost`: the device failed, or its thread. Open if absent. */
  end: z.enum(["left", "lost"]).optional(),
});
export type Attempt = z.infer<typeof AttemptSchema>;

/** A crash: who died, the items that ran alone at that moment, and how many pieces of the slice had run before them in that try. */
export type Crash = { by: string; at: Span | null; after: number };

/** What earlier tries of a slice tell. Two entries of `deaths` with the same `by` are one death. */
export type Evidence = { crashes: readonly Crash[]; through: readonly Span[] };

export const NO_EVIDENCE: Evidence = { crashes: [], through: [] };

/** So many deaths that no item can be blamed for fail a slice: kills from outside that hit one slice are far fewer. */
export const MAX_UNBLAMED_CRASHES = 10;

/** Tries that may be kept of one slice before those that tell nothing are dropped. */
const MOST_TRIES = 32;

/** How often a slice lost its worker. */
export function crashCount({ crashes }: Evidence): number {
  return new Set(crashes.map(({ by }) => by)).size;
}

/** How many processes died on the slice while none of its items was recorded as running. */
export function unblamedCrashCount({ crashes }: Evidence): number {
  const blamed = new Set(crashes.flatMap(({ by, at }) => (at ? [by] : [])));
  return new Set(crashes.map(({ by }) => by).filter((by) => !blamed.has(by))).size;
}

/** The processes that took the slice and never said how that ended. `own` is alive: it asks. */
export function unfinishedStarts(tries: ReadonlyMap<string, Attempt>, own: string): Set<string> {
  const open = [...tries.values()].filter(({ start, end }) => end === undefined && start !== own);
  return new Set(open.map(({ start }) => start));
}

/** How many tries ended with the loss of a device. Each is a death of its own: the process may have gone on. */
export function deviceLosses(tries: ReadonlyMap<string, Attempt>): number {
  return [...tries.values()].filter(({ end }) => end === "lost").length;
}

/** @param dead those of the processes that died */
export function evidenceOf(tries: ReadonlyMap<string, Attempt>, dead: ReadonlySet<string>): Evidence {
  const crashes: Crash[] = [];
  for (const [id, { start, at, after, end }] of tries)
    if (end === "lost") crashes.push({ by: id, at, after });
    else if (end === undefined && dead.has(start)) crashes.push({ by: start, at, after });
  return { crashes, through: merged([...tries.values()].flatMap(({ through }) => through)) };
}

/** Ids of tries that tell nothing more once their `through` is kept elsewhere; none unless there are many tries. */
export function obsolete(tries: ReadonlyMap<string, Attempt>, { crashes, through }: Evidence): string[] {
  if (tries.size <= MOST_TRIES) return [];
  const died = new Set(crashes.map(({ by }) => by));
  const told = [...tries].filter(([id, { start, end }]) => end !== undefined || died.has(start) || died.has(id));
  const suspicious = ({ at, end }: Attempt) => end !== "left" && at !== null && !isThrough(through, at);
  const plain = told.filter(([, each]) => !suspicious(each));
  // Deaths without a suspect still count, but no more than fail the slice.
  const kept = plain.filter(([, { end }]) => end !== "left").slice(-MAX_UNBLAMED_CRASHES);
  return plain.filter((each) => !kept.includes(each)).map(([id]) => id);
}

export function isThrough(through: readonly Span[], [first, end]: Span): boolean {
  return through.some((span) => span[0] <= first && end <= span[1]);
}

/** Spans in order, those that touch or overlap joined. */
export function merged(spans: readonly Span[]): Span[] {
  const joined: Span[] = [];
  for (const [first, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last && first <= last[1]) last[1] = Math.max(last[1], end);
    else joined.push([first, end]);
  }
  return joined;
}
