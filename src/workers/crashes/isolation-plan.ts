import { type Evidence, isThrough, type Span } from "./evidence.ts";

/** Items that run together. `noted`: their span is recorded first, so that a death at that moment points to them. */
export type Piece = { span: Span; noted: boolean };

/**
 * How a slice runs that lost its worker twice: in groups of √`count` items, a group in which a worker died item by item.
 *
 * An item is condemned, and does not run, if it ran by itself at two deaths and never came through. So a poison item costs two deaths that make
 * the slice run alone, one of its group and two of itself. A kill from outside points to whatever ran at that moment. One such death condemns
 * nothing, and the suspect runs early in the next try: it comes through at once unless it is to blame. It does not run first, nor in the
 * place in which it was hit, so that kills that come with the first batch or after a fixed time do not hit it again. What came through is
 * never suspected again, but runs in the same pieces as before: in those it is known to run.
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

/** The suspects first, but what tells least if a worker dies in it in the places where they are not to be. */
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
  // Those that did not fill a place, the cleared ones last.
  const left = fillers.filter(({ noted }) => noted);
  return [...pieces, ...left, ...fillers.filter(({ noted }) => !noted)];
}

/** Of each item that ran by itself at a death: who died, and the place in which it ran then. */
function blameOf(crashes: Evidence["crashes"]): Map<number, Map<string, number>> {
  const blame = new Map<number, Map<string, number>>();
  for (const { by, at, after } of crashes)
    if (at && at[1] - at[0] === 1) blame.set(at[0], (blame.get(at[0]) ?? new Map()).set(by, after));
  return blame;
}

function singlesOf([first, end]: Span): Span[] {
  return Array.from({ length: end - first }, (_, i) => [first + i, first + i + 1]);
}
