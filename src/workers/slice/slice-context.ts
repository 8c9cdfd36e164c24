import type { Job as QueuedJob } from "bullmq";
import type { Logger } from "../../logger.ts";
import type { Turns } from "../../runs/queues/fair-turns.ts";
import type { Job } from "../../schemas/job.ts";
import type { ServedModel } from "../queue/invalid-job.ts";
import type { SliceConcurrency } from "../queue/slice-concurrency.ts";
import type { StageTimes } from "../registration/stage-times.ts";
import type { WatchedSlice } from "../run-control.ts";
import type { SharedServices } from "../shared-services.ts";
import type { LabelItems } from "./label-items.ts";
import type { LoadItems } from "./load-items.ts";
import type { OutputSteps } from "./process-slice.ts";

/** What the slices of one queue work with. */
export type SliceContext = SharedServices & {
  steps: OutputSteps;
  load: LoadItems;
  label: LabelItems;
  stages: StageTimes;
  concurrency: SliceConcurrency;
  turns: Turns;
  served: ServedModel;
};

/** A slice's job as BullMQ delivered it to this worker. */
export type SliceDelivery = {
  queued: QueuedJob;
  /** Proves to BullMQ that this worker has the job's lock. */
  token: string;
  job: Job;
  /** The state of the slice's run. */
  run: WatchedSlice;
  /** Aborts when the worker gives its slices back: the grace time of a shutdown is over, or a device failed. */
  signal: AbortSignal;
  log: Logger;
};
