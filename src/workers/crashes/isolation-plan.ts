import { type Evidence, isThrough, type Span } from "./evidence.ts";

/**
 * Items that run together. `noted`: their span is recorded before they run, so that a crash at that moment points to
 * them.
 */
export type Piece = { span: Span; noted: boolean };

/**
 * Plans how a slice runs that lost its worker twice: in groups of √`count` items. A group in which a worker crashed
 * runs item by item.
 *
 * An item is condemned, and does not run again, if it ran alone at two crashes and was never done. So a poison item
 * costs five crashes at most: two that isolate the slice, one of its group, and two of its own.
 *
 * A kill from outside points to the items that ran at that moment. One such crash condemns nothing. The suspect runs
 * early in the next attempt, and is done at once unless it is to blame. It runs neither first nor at the place at which
 * it was hit, so that kills that come with the first batch, or after a fixed time, do not hit it again.
 *
 * Items that are done once are no longer suspected, but run in the same pieces as before: those are known to run.
 *
 * @param count items of the slice
 */
export function planIsolated(
  count: number,
  { crashes, through }: Evidence,
): { condemned: ReadonlySet<number>; pieces: Piece[] } {
  const size = Math.ceil(Math.sqrt(count));
  const blame = blameOf(crashes);
  const condemned = new Set<number>();
  const suspects: (Piece & { after: number })[] = [];
  const [singles, groups, cleared]: [Piece[], Piece[], Piece[]] = [[], [], []];
  for (let first = 0; first < count; first += size) {
    const group: Span = [first, Math.min(count, first + size)];
    const isSplit = crashes.some(({ at }) => at && at[0] < group[1] && group[0] < at[1]);
    for (const span of isSplit ? singlesOf(group) : [group]) {
      const blamed = isSplit ? blame.get(span[0]) : undefined;
      if (isThrough(through, span)) cleared.push({ span, noted: false });
      else if (!blamed) (isSplit ? singles : groups).push({ span, noted: true });
      else if (blamed.size > 1) condemned.add(span[0]);
      else suspects.push({ span, noted: true, after: [...blamed.values()][0]! });
    }
  }
  return { condemned, pieces: ordered(suspects, [...singles, ...groups], cleared) };
}

/**
 * Suspects first. The places that no suspect may have go to the pieces in which a crash of the worker would show least.
 */
function ordered(suspects: (Piece & { after: number })[], others: Piece[], cleared: Piece[]): Piece[] {
  const pieces: Piece[] = [];
  const fillers = [...cleared, ...others];
  while (suspects.length > 0) {
    const place = pieces.length;
    const next = place === 0 ? -1 : suspects.findIndex(({ after }) => after !== place);
    const filler = next < 0 ? fillers.shift() : undefined;
    const { span, noted } = filler ?? suspects.splice(Math.max(0, next), 1)[0]!;
    pieces.push({ span, noted });
  }
  // The rest of the fillers, with the cleared ones last.
  const left = fillers.filter(({ noted }) => noted);
  return [...pieces, ...left, ...fillers.filter(({ noted }) => !noted)];
}

/** For each item that ran alone at a crash: the processes that crashed, and its place in the slice at that time. */
function blameOf(crashes: Evidence["crashes"]): Map<number, Map<string, number>> {
  const blame = new Map<number, Map<string, number>>();
  for (const { by, at, after } of crashes)
    if (at && at[1] - at[0] === 1) blame.set(at[0], (blame.get(at[0]) ?? new Map()).set(by, after));
  return blame;
}

function singlesOf([first, end]: Span): Span[] {
  return Array.from({ length: end - first }, (_, i) => [first + i, first + i + 1]);
}
