import type { LabelEvent } from "../../schemas/event.ts";
import type { Run } from "./run.ts";
import type { Submission } from "./submission.ts";

/**
 * Submits texts and images to workers through Redis, and receives their labels. Close it when it is
 * no longer needed: with `close()`, or with `await using` at the end of a block.
 */
export interface Producer extends AsyncDisposable {
  /**
   * Queues items to be labeled. A submission that fits into one slice is one job. A larger one is a
   * run of many jobs with a manifest. {@link ProducerOptions.sliceItems} sets the limit.
   *
   * @param submission - The items, the model and how to label them.
   * @returns The run. A submission of one slice is queued by then. A larger one is still being
   * queued, as fast as Redis has room.
   * @throws {@link LabelmillError} with one of these codes. No item was queued, unless it says so:
   * - `USAGE`: an option or an item has an invalid value, or an unknown field.
   * - `INPUT_EMPTY`: it has no item.
   * - `NO_WORKER`: no worker serves the model, or workers serve several versions of it.
   * - `REDIS_FULL`: Redis stayed out of memory for {@link ProducerOptions.fullMs}.
   * - `REDIS_UNREACHABLE`: the connection is lost. The producer reconnects by itself: submit again
   *   later. If the connection was lost while the job was being sent, the job may have been queued.
   * - `STORE_FAILED`: the output cannot be written. Only for more than one slice.
   * - `ABORTED`: the producer is closed.
   */
  submit(submission: Submission): Promise<Run>;
  /**
   * Calls a listener for every event of every producer from now on, and takes none from the results
   * queue. An event may arrive twice. Events that are published while the connection is lost do not
   * arrive.
   *
   * @param listener - Called with each event. It must not throw.
   * @returns A function that ends the subscription.
   * @throws {@link LabelmillError} `REDIS_UNREACHABLE` if the connection is lost, `ABORTED` if the
   * producer is closed.
   */
  subscribe(listener: (event: LabelEvent) => void): Promise<() => void>;
  /**
   * Closes the connections. A caller that still waits for a run gets an error with the code
   * `ABORTED`. Workers finish what is queued. A second call does nothing.
   */
  close(): Promise<void>;
}
