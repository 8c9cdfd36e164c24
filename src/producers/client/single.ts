import { LabelmillError } from "../../errors.ts";
import type { ResultTarget } from "../../schemas/enrichment/target.ts";
import type { Item } from "../../schemas/item.ts";
import { DEFAULT_SLICE_ITEMS, type Job, JobSchema } from "../../schemas/job.ts";
import { JOB_VERSION, type Lane, singleKey } from "../../schemas/names.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { ResolvedSubmission } from "./submission.ts";
import { SUBMITTED_URI, type SubmittedRecord } from "./submitted-records.ts";

/** The attempts of the job of a submission. */
export const RETRIES = { attempts: 5, backoffMs: 1_000 } as const;

/** The most items of a single that the server accepts, and the most bytes of their JSON. */
const MAX_ITEMS = DEFAULT_SLICE_ITEMS;
const MAX_BYTES = 5_000_000;

/** A submission of one slice: its job, and the queue for it. */
export type Single = { job: Job; lane: Lane };

type SingleOptions = Pick<ResolvedSubmission, "lane" | "events" | "topK"> & {
  run: string;
  /** The URI of the store. */
  output: string;
  pin: ModelPin;
  results?: readonly ResultTarget[] | undefined;
};

/** @throws z.ZodError for an item that does not match its type */
export function singleOf(
  items: readonly (Item | SubmittedRecord)[],
  { run, output, pin: { id, digest, task }, topK, lane = "interactive", events = "rows", results = [] }: SingleOptions,
): Single {
  const job = JobSchema.parse({
    v: JOB_VERSION,
    run,
    slice: 0,
    model: { id, digest, task },
    output,
    key: singleKey(run),
    topK,
    events,
    single: true,
    ...(results.length > 0 ? { results: [...results] } : {}),
    sources: [SUBMITTED_URI],
    items: items.map((item) => ({ ...item, source: 0 })),
  } satisfies Job);
  return { job, lane };
}

/** @throws LabelmillError USAGE if these are too many items, or too long ones, for one job */
export function checkSize(items: readonly SubmittedRecord[]): void {
  const bytes = items.length > MAX_ITEMS ? 0 : Buffer.byteLength(JSON.stringify(items));
  if (items.length <= MAX_ITEMS && bytes <= MAX_BYTES) return;
  const got = items.length > MAX_ITEMS ? `${items.length} items` : `${bytes} bytes`;
  throw new LabelmillError(
    "USAGE",
    `expected at most ${MAX_ITEMS} items with ${MAX_BYTES} bytes of JSON, got ${got}: divide them, or submit a run`,
  );
}
