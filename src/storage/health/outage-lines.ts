import type { Outage } from "./outage.ts";

/** The log line for the begin of an outage: which store, since when, why, and what happens next. */
export function outageBegins(outage: Outage, limitMs: number): string {
  const { place, kind, since, error } = outage;
  const until = `next try in ${spoken(outage.retryMs)}`;
  const next =
    kind === "outage"
      ? `labeled slices are kept and no new slices of this store are taken, for at most ${spoken(limitMs)}; ${until}`
      : `its runs fail in ${spoken(limitMs)} unless this is fixed; ${until}`;
  return `store ${place} became unavailable at ${clock(since)}: ${error.message}; ${next}`;
}

export function outageEnds({ place, since, kept }: Outage): string {
  const slices = kept > 0 ? `, continuing with ${kept} kept ${kept === 1 ? "slice" : "slices"}` : "";
  return `store ${place} is back after ${spoken(Date.now() - since.getTime())}${slices}`;
}

export function outageGivenUp({ place, kind, since, error }: Outage): string {
  const next = kind === "outage" ? "its slices fail with this reason from now on" : "its runs fail with this reason";
  return `store ${place} has been unavailable since ${clock(since)}, longer than allowed: ${next}: ${error.message}`;
}

/** HH:MM:SS in this machine's time zone. */
export function clock(time: Date): string {
  return time.toTimeString().slice(0, 8);
}

export function spoken(ms: number): string {
  if (ms < 90_000) return `${Math.max(1, Math.round(ms / 1000))} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}
