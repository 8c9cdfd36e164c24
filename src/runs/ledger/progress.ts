import { LANES, type Lane } from "../../schemas/names.ts";
import { type RunState, RunStateSchema } from "../../schemas/run.ts";

/** What a run is, besides its plan: its output, and the queue of its slices. */
export type RunAbout = { output: string; model: { id: string; digest: string }; lane: Lane };

/** Why a run or a slice failed: the code and the message of the error. */
export type Failure = { code: string; message: string };

export type Progress = RunAbout & {
  state: RunState;
  /** All slices of the run; undefined until the plan is complete. */
  slices: number | undefined;
  /** Items planned until now. */
  items: number;
  committed: number;
  failed: number;
  rows: number;
  errors: number;
  bytes: number;
  /** Time that devices spent on inference, in ms. */
  inferMs: number;
  /** Why the run failed as a whole: the code, `: ` and the message. Omitted if it did not, or only slices failed. */
  reason?: string;
  /** `reason` as code and message, else the failure of the first slice that failed. `failed` is the number of such slices. */
  failure?: Failure;
};

/** The progress of a run, and its rows per second from the last start of its planning to now, or to its end. */
export type RunOverview = Progress & { run: string; createdAt: string; rowsPerSecond: number };

/** The progress of a run from the fields of its hash. */
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
