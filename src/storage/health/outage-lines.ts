import type { Outage } from "./outage.ts";

/** What is said once when a store goes out: what, since when, why, what happens next. */
export function outageBegins(outage: Outage, limitMs: number): string {
  const { place, kind, since, error } = outage;
  const until = `next try in ${spoken(outage.retryMs)}`;
  const next =
    kind === "outage"
      ? `labeled slices are kept, no new ones of this store are taken, for ${spoken(limitMs)} at most; ${until}`
      : `its runs fail in ${spoken(limitMs)} unless that is fixed; ${until}`;
  return `store ${place} is out since ${clock(since)}: ${error.message}; ${next}`;
}

export function outageEnds({ place, since, kept }: Outage): string {
  const slices = kept > 0 ? `, going on with ${kept} kept ${kept === 1 ? "slice" : "slices"}` : "";
  return `store ${place} is back after ${spoken(Date.now() - since.getTime())}${slices}`;
}

export function outageGivenUp({ place, kind, since, error }: Outage): string {
  const next = kind === "outage" ? "its slices fail with that reason from now on" : "its runs fail with that reason";
  return `store ${place} has been out since ${clock(since)}, longer than allowed: ${next}: ${error.message}`;
}

/** Hours and minutes of this machine's day, with seconds. */
export function clock(time: Date): string {
  return time.toTimeString().slice(0, 8);
}

export function spoken(ms: number): string {
  if (ms < 90_000) return `${Math.max(1, Math.round(ms / 1000))} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
