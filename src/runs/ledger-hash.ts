import { KEY_PREFIX, LANES } from "../schemas/names.ts";
import { RunStateSchema } from "../schemas/run.ts";
import type { Progress } from "./ledger.ts";

/** The keys of a run, in the order in which scripts take them. */
export function runKeys(run: string): string[] {
  const key = `${KEY_PREFIX}:run:${run}`;
  return [
    key,
    ...["plan", "receipts", "failed", "labels", "codes", "devices", "firstErrors", "passedOver"].map(
      (part) => `${key}:${part}`,
    ),
  ];
}

/** A run's progress as its hash holds it. */
export function progressOf(found: Record<string, string>): Progress {
  const number = (key: string) => Number(found[key] ?? 0);
  return {
    state: RunStateSchema.parse(found.state),
    output: found.output ?? "",
    model: { id: found.model ?? "", digest: found.digest ?? "" },
    lane: LANES.find((lane) => lane === found.lane) ?? "bulk",
    slices: found.planDone === "1" ? number("slices") : undefined,
    items: number("items"),
    committed: number("committed"),
    failed: number("failed"),
    rows: number("rows"),
    errors: number("errors"),
    bytes: number("bytes"),
    inferMs: number("inferMs"),
    ...(found.reason ? { reason: found.reason } : {}),
  };
}

export function countsOf(counts: Record<string, string>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([key, value]) => [key, Number(value)]));
}
