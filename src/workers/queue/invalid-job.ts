import type { Job as QueuedJob, UnrecoverableError } from "bullmq";
import { LabelmillError } from "../../errors.ts";
import { ResultTargetsSchema } from "../../schemas/enrichment/target.ts";
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

/** The model that a queue serves: its jobs must name this one. */
export type ServedModel = { id: string; digest: string; task: Task };

/** Why a job is not a slice for this queue. Undefined if it is one. */
export function invalidReason(queued: QueuedJob, served: ServedModel): string | undefined {
  const { id, data } = queued;
  // Checked before the items are parsed: millions of items would use up the worker's memory.
  const count = Array.isArray(data?.items) ? data.items.length : 0;
  if (count > MAX_SLICE_ITEMS) return `items: expected at most ${MAX_SLICE_ITEMS}, got ${count}`;
  const reason = unreadableReason(queued, JobSchema);
  if (reason !== undefined) return reason;
  const { run, slice, model } = data as Job;
  const named = parseJobId(id ?? "");
  if (named?.run !== run || named.slice !== slice) return "the job's id is not that of its run and slice";
  if (model.digest !== served.digest)
    return `model.digest: expected that of the model served on this queue, ${served.digest}, got ${model.digest}`;
  if (model.task !== served.task) return `model.task: expected ${served.task}, as the model has it, got ${model.task}`;
  return undefined;
}

export type RejectionDeps = FailureDeps & { deadLetters: DeadLetters; served: ServedModel };

/**
 * Adds a job that no worker can process to the dead letters, and reports the failure to its run or to the caller of a
 * single.
 * @returns the error for the processor to throw
 */
export async function rejectJob(queued: QueuedJob, reason: string, deps: RejectionDeps): Promise<UnrecoverableError> {
  const rejected = await deps.deadLetters.add(queued, reason);
  const address = readAddress(queued, deps.served);
  if (address) {
    const error = new LabelmillError("JOB_INVALID", reason);
    const single = address.single ?? ((await deps.ledger.state(address.run)) === undefined ? true : undefined);
    await reportFailure(eventOf({ ...address, single }, error), { ...address, single }, error, deps);
  }
  return rejected;
}

type Address = Pick<Job, "run" | "slice" | "model" | "output" | "events" | "single" | "results">;

/** Where to report the failure of a job that cannot be parsed, as far as the job says. Undefined if it names no run. */
function readAddress({ id, data }: QueuedJob, model: ServedModel): Address | undefined {
  const payload = (typeof data === "object" && data !== null ? data : {}) as Record<string, unknown>;
  const isSingle = payload.single === true;
  const run = RunIdSchema.safeParse(payload.run);
  // The payload's run is used for a single only: an invalid job must not fail a slice of another run.
  const named = parseJobId(id ?? "") ?? (isSingle && run.success ? { run: run.data, slice: 0 } : undefined);
  if (!named) return undefined;
  const output = typeof payload.output === "string" ? payload.output.slice(0, MAX_OUTPUT_LENGTH) : "";
  // The producer may want events, and an event too many is better than a missing one.
  const events = EventsSchema.catch("parts").parse(payload.events);
  const results = ResultTargetsSchema.catch([]).parse(payload.results ?? []);
  return { ...named, model, output, events, results, ...(isSingle ? { single: true } : {}) };
}

function eventOf(address: Address, error: LabelmillError): LabelEvent {
  const { run, slice, single } = address;
  return failedEvent({ ...address, key: single ? singleKey(run) : partKey(run, slice) }, error);
}
