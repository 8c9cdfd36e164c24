import { z } from "zod";
import { FailureSchema } from "../../schemas/event.ts";
import { RunIdSchema } from "../../schemas/job.ts";
import { LANES } from "../../schemas/names.ts";
import { RUN_STATES } from "../../schemas/run.ts";

/** The states of a run. `queued`: a submission of one slice that has not ended. */
export const API_STATES = ["queued", ...RUN_STATES] as const;
export type ApiState = (typeof API_STATES)[number];

/** A run, as the API shows it. */
export const RunViewSchema = z.object({
  run: RunIdSchema.describe("The id of the run."),
  kind: z.enum(["single", "run"]).describe("`single`: a submission of one slice. `run`: a run of a spec."),
  state: z.enum(API_STATES),
  url: z.string().describe("The path of the run."),
  rowsUrl: z.string().describe("The path of its rows."),
  eventsUrl: z.string().describe("The path of its progress, as server-sent events."),
  output: z.string().describe("The URI of the rows: a folder or prefix, or the object of a `single`."),
  model: z.object({ id: z.string(), digest: z.string() }).optional(),
  lane: z.enum(LANES).optional(),
  submittedAt: z.string().optional(),
  planned: z.int().min(0).optional().describe("Planned items of a run. It grows until the run is planned."),
  rows: z.int().min(0).describe("Number of rows, rows in error included."),
  errors: z.int().min(0).describe("Number of rows in error."),
  labels: z.record(z.string(), z.int()).describe("Number of rows for each best label."),
  failed: FailureSchema.optional().describe("Why the run failed, or its first failed slice."),
});
export type RunView = z.infer<typeof RunViewSchema>;

/** The paths of a run. Relative: the server does not know its public address. */
export function urlsOf(run: string): Pick<RunView, "url" | "rowsUrl" | "eventsUrl"> {
  const url = `/v1/runs/${run}`;
  return { url, rowsUrl: `${url}/rows`, eventsUrl: `${url}/events` };
}

export function hasEnded(state: ApiState): boolean {
  return state === "succeeded" || state === "finished_with_errors" || state === "failed" || state === "cancelled";
}
