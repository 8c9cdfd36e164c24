import type { RunRequest } from "../../producers/runs/request.ts";

/** What `labelmill label` should do: its arguments and options. */
export type LabelRequest = RunRequest & {
  /** Rows to print at the end. */
  show: number;
  /** Exit when the last slice is queued. */
  detach?: boolean;
  /** With REDIS_URL: label in this process too. Without it, this process always has the only worker. */
  withWorker?: boolean;
};
