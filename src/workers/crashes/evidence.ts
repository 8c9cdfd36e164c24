import { z } from "zod";

const IndexSchema = z.int().nonnegative();
const SpanSchema = z.tuple([IndexSchema, IndexSchema]);

/** Items of a slice by their indexes: from the first index up to the second, which is excluded. */
export type Span = z.infer<typeof SpanSchema>;

/** What is recorded about one attempt of a slice. The record survives a crash of the process. */
export const AttemptEntrySchema = z.object({
  /** The process, by an id that is new at each start. */
  start: z.string().min(1).max(64),
  /** The items that run now, isolated. Null: no item is running that a crash could be blamed on. */
  at: SpanSchema.nullable(),
  /** Number of pieces of the slice that ran in this attempt before those of `at`. */
  after: IndexSchema,
  /** Items that ran isolated and were done, in this attempt or an earlier one. */
  through: z.array(SpanSchema),
  /**
   * `left`: the slice was given back by a healthy process. `lost`: the device or its thread failed. Absent: not ended.
   */
  end: z.enum(["left", "lost"]).optional(),
});
export type AttemptEntry = z.infer<typeof AttemptEntrySchema>;

/**
 * A crash of a worker or the loss of its device. `by`: the process, or the attempt that lost the device. `at`: the
 * items that ran isolated then. `after`: number of pieces of the slice that had run before them in that attempt.
 */
export type Crash = { by: string; at: Span | null; after: number };

/** What earlier attempts of a slice show. Two entries of `crashes` with the same `by` are one crash. */
export type Evidence = { crashes: readonly Crash[]; through: readonly Span[] };

export const NO_EVIDENCE: Evidence = { crashes: [], through: [] };

/**
 * A slice fails after this many crashes that no item can be blamed for. Kills from outside hit one slice far less
 * often.
 */
export const MAX_UNBLAMED_CRASHES = 10;

/** If a slice has more attempts than this, those that show nothing are deleted. */
const MAX_ATTEMPTS = 32;

/** How often a slice lost its worker. */
export function crashCount({ crashes }: Evidence): number {
  return new Set(crashes.map(({ by }) => by)).size;
}

/** How many processes died on the slice while none of its items was recorded as running. */
export function unblamedCrashCount({ crashes }: Evidence): number {
  const blamed = new Set(crashes.flatMap(({ by, at }) => (at ? [by] : [])));
  return new Set(crashes.map(({ by }) => by).filter((by) => !blamed.has(by))).size;
}

/** The processes that took the slice and did not record an end. `own`, the calling process, is alive and excluded. */
export function unfinishedStarts(attempts: ReadonlyMap<string, AttemptEntry>, own: string): Set<string> {
  const open = [...attempts.values()].filter(({ start, end }) => end === undefined && start !== own);
  return new Set(open.map(({ start }) => start));
}

/** How many attempts ended with the loss of a device. Each counts as its own crash: the process may have gone on. */
export function deviceLosses(attempts: ReadonlyMap<string, AttemptEntry>): number {
  return [...attempts.values()].filter(({ end }) => end === "lost").length;
}

/** @param dead the processes that died, by their `start` */
export function evidenceOf(attempts: ReadonlyMap<string, AttemptEntry>, dead: ReadonlySet<string>): Evidence {
  const crashes: Crash[] = [];
  for (const [id, { start, at, after, end }] of attempts)
    if (end === "lost") crashes.push({ by: id, at, after });
    else if (end === undefined && dead.has(start)) crashes.push({ by: start, at, after });
  return { crashes, through: merged([...attempts.values()].flatMap(({ through }) => through)) };
}

/**
 * Ids of attempts that can be deleted: they show nothing once their `through` is saved elsewhere. Empty unless there
 * are more than MAX_ATTEMPTS.
 */
export function obsolete(attempts: ReadonlyMap<string, AttemptEntry>, { crashes, through }: Evidence): string[] {
  if (attempts.size <= MAX_ATTEMPTS) return [];
  const died = new Set(crashes.map(({ by }) => by));
  const ended = [...attempts].filter(([id, { start, end }]) => end !== undefined || died.has(start) || died.has(id));
  const hasSuspect = ({ at, end }: AttemptEntry) => end !== "left" && at !== null && !isThrough(through, at);
  const plain = ended.filter(([, entry]) => !hasSuspect(entry));
  // Crashes without a suspect still count, up to the number that fails the slice.
  const kept = plain.filter(([, { end }]) => end !== "left").slice(-MAX_UNBLAMED_CRASHES);
  return plain.filter((each) => !kept.includes(each)).map(([id]) => id);
}

/** Whether one of the spans in `through` contains the span. */
export function isThrough(through: readonly Span[], [first, end]: Span): boolean {
  return through.some((span) => span[0] <= first && end <= span[1]);
}

/** The spans in order. Spans that touch or overlap are joined. */
export function merged(spans: readonly Span[]): Span[] {
  const joined: Span[] = [];
  for (const [first, end] of [...spans].sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last && first <= last[1]) last[1] = Math.max(last[1], end);
    else joined.push([first, end]);
  }
  return joined;
}
