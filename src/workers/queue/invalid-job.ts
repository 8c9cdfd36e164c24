import type { Job as QueuedJob, UnrecoverableError } from "bullmq";
import { LabelmillError } from "../../errors.ts";
import type { LabelEvent } from "../../schemas/event.ts";
import {
  EventsSchema,
  type Job,
  JobSchema,
  MAX_OUTPUT_LENGTH,
  MAX_SLICE_ITEMS,
  RunIdSchema,
} from "../../schemas/job.ts";
import { parseJobId, partKey, singleKey } from "../../schemas/names.ts";
import type { Task } from "../../schemas/task.ts";
import { failedEvent } from "../result-events.ts";
import { type FailureDeps, reportFailure } from "../slice/report-failure.ts";
import { type DeadLetters, unreadableReason } from "./dead-letters.ts";

/** What a job must be for, on a queue of this model. */
export type ServedModel = { id: string; digest: string; task: Task };

/** What is wrong with a job; undefined where it is a slice for this queue. */
export function invalidReason(queued: QueuedJob, served: ServedModel): string | undefined {
  const { id, data } = queued;
  // Before each item is looked at: millions of them would take the worker's memory.
  const count = Array.isArray(data?.items) ? data.items.length : 0;
  if (count > MAX_SLICE_ITEMS) return `items: expected at most ${MAX_SLICE_ITEMS}, got ${count}`;
  const reason = unreadableReason(queued, JobSchema);
  if (reason !== undefined) return reason;
  const { run, slice, model } = data as Job;
  const named = parseJobId(id ?? "");
  if (named?.run !== run || named.slice !== slice) return "the job's id is not that of its run and slice";
  if (model.digest !== served.digest)
    return `model.digest: expected that of the model served on this queue, ${served.digest}`;
  if (model.task !== served.task) return `model.task: expected ${served.task}, as the model has it, got ${model.task}`;
  return undefined;
}

export type RejectionDeps = FailureDeps & { deadLetters: DeadLetters; served: ServedModel };

/**
 * Buries a job that no worker can do, and ends what waits for it: its run, or the caller of a single.
 * @returns what the processor throws then
 */
export async function rejectJob(queued: QueuedJob, reason: string, parts: RejectionDeps): Promise<UnrecoverableError> {
  const buried = await parts.deadLetters.bury(queued, reason);
  const job = readAddress(queued, parts.served);
  if (job) {
    const error = new LabelmillError("JOB_INVALID", reason);
    const single = job.single ?? ((await parts.ledger.state(job.run)) === undefined ? true : undefined);
    await reportFailure(eventOf({ ...job, single }, error), { ...job, single }, error, parts);
  }
  return buried;
}

type Address = Pick<Job, "run" | "slice" | "model" | "output" | "events" | "single">;

/** Where the failure of a job that does not parse is heard, as far as the job says; undefined where it names no run. */
function readAddress({ id, data }: QueuedJob, model: ServedModel): Address | undefined {
  const said = (typeof data === "object" && data !== null ? data : {}) as Record<string, unknown>;
  const isSingle = said.single === true;
  const run = RunIdSchema.safeParse(said.run);
  // Only a single's caller is found by what the payload says: a slice of another run must not fail by it.
  const named = parseJobId(id ?? "") ?? (isSingle && run.success ? { run: run.data, slice: 0 } : undefined);
  if (!named) return undefined;
  const output = typeof said.output === "string" ? said.output.slice(0, MAX_OUTPUT_LENGTH) : "";
  // Its caller may have wanted events: one too many is less than one that is missing.
  const events = EventsSchema.catch("parts").parse(said.events);
  return { ...named, model, output, events, ...(isSingle ? { single: true } : {}) };
}

function eventOf(job: Address, error: LabelmillError): LabelEvent {
  return failedEvent({ ...job, key: job.single ? singleKey(job.run) : partKey(job.run, job.slice) }, error);
}

/**
 * Buries a job that plans or closes a run and cannot be read; the run that it names has failed, so that nothing waits for it.
 * @returns what the processor throws then
 */
export async function rejectRunJob(
  queued: QueuedJob,
  reason: string,
  { ledger, deadLetters }: Pick<RejectionDeps, "ledger" | "deadLetters">,
): Promise<UnrecoverableError> {
  const buried = await deadLetters.bury(queued, reason);
  const run = RunIdSchema.safeParse(queued.data?.run);
  if (run.success) await ledger.failRun(run.data, buried.message);
  return buried;
}
