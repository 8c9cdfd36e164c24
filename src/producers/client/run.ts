import type { Failure } from "../../schemas/event.ts";
import type { Row } from "../../schemas/row.ts";

/** A submission that was accepted. Returned by {@link Producer.submit}. */
export interface Run {
  /** The id of the run: 16 hexadecimal digits. */
  readonly run: string;
  /**
   * The URI of the results. A submission of one slice has one object, `single-RUN.jsonl`. A larger
   * one has a folder, `RUN/`, that ends in `/`, has a manifest and can be checked with `labelmill
   * verify`.
   */
  readonly output: string;
  /**
   * Waits for the end of the run. The producer receives the end through Redis and also checks every
   * 5 seconds. A job that Redis lost is queued again.
   *
   * @returns The result, also for a run that failed or was cancelled.
   * @throws {@link LabelmillError} `ABORTED` if the producer is closed first. `RUN_FAILED` if the
   * job of a submission of one slice failed and left no result. A larger submission also throws
   * what stops its planning, such as `REDIS_FULL`, `REDIS_UNREACHABLE` or `STORE_FAILED`.
   */
  wait(): Promise<RunResult>;
  /**
   * Waits for the end of the run, then reads its rows from the store, one part at a time. The rows
   * of a submission of one slice with at most 16 items usually arrive through Redis and need no
   * read.
   *
   * @returns One row for each submitted item, in the order of the items.
   * @throws {@link LabelmillError} `RUN_FAILED` if the run failed or was cancelled. `STORE_FAILED`
   * or `STORE_NOT_FOUND` if the rows cannot be read. Also what {@link Run.wait} throws.
   */
  rows(): AsyncGenerator<Row>;
}

/** The end of a run. Returned by {@link Run.wait}. */
export interface RunResult {
  /** The id of the run: 16 hexadecimal digits. */
  run: string;
  /**
   * `succeeded` if every item has a label. `finished_with_errors` if every item has a row, and at
   * least one row has an error. `failed` if rows are missing: `failed` below says why. `cancelled`
   * if a user cancelled the run.
   */
  state: "succeeded" | "finished_with_errors" | "failed" | "cancelled";
  /** The URI of the results, as in {@link Run.output}. */
  output: string;
  /** Number of rows, rows with an error included. 0 if the run was cancelled. */
  rows: number;
  /** Number of rows with an error. 0 if the run was cancelled. */
  errors: number;
  /**
   * Number of rows for each best label. Empty if the run was cancelled, or was stopped before its
   * end.
   */
  labels: Record<string, number>;
  /** The first failure. Omitted if no slice failed and the run was not stopped. */
  failed?: Failure;
  /**
   * Number of slices that failed permanently. Omitted if no slice failed and the run was not
   * stopped.
   */
  failedSlices?: number;
}
