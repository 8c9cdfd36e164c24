import { LANES, type Lane } from "../../schemas/names.ts";
import { type RunState, RunStateSchema } from "../../schemas/run.ts";

/** What a run is, beside its plan: where it writes, and the queue that its slices are on. */
export type RunAbout = { output: string; model: { id: string; digest: string }; lane: Lane };

/** Why a run, or a slice of it, failed: the error's code and message. */
export type Failure = { code: string; message: string };

export type Progress = RunAbout & {
  state: RunState;
  /** Slices planned in all; undefined until the planner is through. */
  slices: number | undefined;
  /** Items planned so far. */
  items: number;
  committed: number;
  failed: number;
  rows: number;
  errors: number;
  bytes: number;
  /** Time that the models' devices spent on the rows, in ms. */
  inferMs: number;
  /** Why the run failed, where no slice did: the code, `: ` and the message. */
  reason?: string;
  /** Why it failed, or its first slice that did: `reason` in its parts, else that slice's. How many slices did says `failed`. */
  failure?: Failure;
};

/** How a run goes: its progress, and its rows a second since it was last begun (to its end, if it has ended). */
export type RunOverview = Progress & { run: string; createdAt: string; rowsPerSecond: number };

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
    ...failureOf(found),
  };
}

export function countsOf(counts: Record<string, string>): Record<string, number> {
  return Object.fromEntries(Object.entries(counts).map(([key, value]) => [key, Number(value)]));
}

function failureOf({ reason, firstFailure }: Record<string, string>): { failure?: Failure } {
  const [, code, message] = /^([A-Z_]+): (.*)$/s.exec(reason ?? "") ?? [];
  if (code !== undefined && message !== undefined) return { failure: { code, message } };
  return firstFailure ? { failure: JSON.parse(firstFailure) as Failure } : {};
}
