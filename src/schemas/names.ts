/** Names that producers and workers must agree on: queues, job ids, part keys, the files of an output. */

/** The major version of the files of an output, of events and of what workers tell of themselves. */
export const SCHEMA_VERSION = 1;

/** The job schema's major version: it is part of the queues' names, so an older worker never meets a job it cannot read. */
export const JOB_VERSION = 2;

/** Prefix of every key in Redis. The braces make it a hash tag: all keys live in one slot of a cluster. */
export const KEY_PREFIX = "{labelmill}";

export const LANES = ["interactive", "bulk"] as const;
export type Lane = (typeof LANES)[number];

/** Jobs that close runs or make their output files, of all runs, served by every worker. */
export const RUNS_QUEUE = `labelmill${JOB_VERSION}.runs`;
/** Jobs that plan runs and stay with them to their end, served by every worker. */
export const PLANS_QUEUE = `labelmill${JOB_VERSION}.plans`;
/** Jobs whose payload does not parse, with the reason. Nothing takes from it but a person. */
export const DEAD_LETTER_QUEUE = `labelmill${JOB_VERSION}.dead`;
/** Events for whoever asked for them: at least once, bounded. */
export const RESULTS_QUEUE = "labelmill-results";

export const RUN_FILE = "_run.json";
export const PARTS_FILE = "_parts.jsonl";
/** Lists the files that were made of the parts, where that was asked for. */
export const FILES_FILE = "_files.jsonl";
export const MANIFEST_FILE = "_manifest.json";
export const SUCCESS_FILE = "_SUCCESS";
/** Where parts lie that output files are made of, until these are there. */
export const PARTS_FOLDER = "_parts/";
/** Where the files of rows in error lie, where they were asked for apart. */
export const ERRORS_FOLDER = "_errors/";
/** Where rows in error that were labeled once more lie, each retry an output of its own. */
export const RETRIES_FOLDER = "_retries/";
/** Held by the command that works on a local output. */
export const LOCK_FILE = "_lock";
/** Which slices a command with a Redis server of its own had under way, beside a local output. */
export const JOURNAL_FILE = "_inflight";

/** The queue of one version (digest) of one model, one lane. */
export function queueName(model: { id: string; digest: string }, lane: Lane): string {
  const id = model.id.replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 64);
  return `labelmill${JOB_VERSION}.${id}.${model.digest.slice(0, 8)}.${lane}`;
}

export function jobId(run: string, slice: number): string {
  return `${run}-${sliceNumber(slice)}`;
}

/** The run and slice that a job id names, or undefined if it names none. */
export function parseJobId(id: string): { run: string; slice: number } | undefined {
  const found = /^([0-9a-f]{16})-(\d{7})$/.exec(id);
  return found ? { run: found[1]!, slice: Number(found[2]) } : undefined;
}

/** @param compacted the run's output files are made: another job than the one that had them made, which may still run */
export function finalizeJobId(run: string, compacted = false): string {
  return `${run}-finalize${compacted ? "-compacted" : ""}`;
}

export function compactJobId(run: string, range: number): string {
  return `${run}-compact-${range}`;
}

/** The name of a file made of the parts of slices `first` to `last`, in whatever folder of its output. */
export function dataFileName(run: string, first: number, last: number, ending: string): string {
  return `data-${sliceNumber(first)}-${sliceNumber(last)}-${run.slice(0, 8)}.${ending}`;
}

/** Whether a key in an output has the form of such a file's, of whatever run. */
export function isDataFileKey(key: string): boolean {
  return /(^|\/)data-\d{7}-\d{7}-[0-9a-f]{8}\.(jsonl|jsonl\.gz|jsonl\.zst|parquet)$/.test(key);
}

/**
 * The one key that slice `slice` of `run` writes. The run's id in it keeps a late worker of another run out.
 * @param apart output files are made of the parts: these lie in a folder of their own until then
 */
export function partKey(run: string, slice: number, apart = false): string {
  return `${apart ? PARTS_FOLDER : ""}part-${sliceNumber(slice)}-${run.slice(0, 8)}.jsonl`;
}

/** The one key that a single writes: many share one output, so all of the run's id is in it. */
export function singleKey(run: string): string {
  return `single-${run}.jsonl`;
}

/** Whether a key in an output has the form of a part's, of whatever run. */
export function isPartKey(key: string): boolean {
  return /^part-\d{7}-[0-9a-f]{8}\.jsonl$/.test(key);
}

/** The Redis channel on which a run's watchers hear that something of it changed; of a single, its event. */
export function runChannel(run: string): string {
  return `${KEY_PREFIX}:run:${run}:changed`;
}

/** The Redis channel on which every event is told as it is queued, for those who read along and take nothing. */
export const FEED_CHANNEL = `${KEY_PREFIX}:results:feed`;
/** The Redis channel on which workers hear the ids of runs that were cancelled or failed: nobody is to work on them. */
export const STOPPED_CHANNEL = `${KEY_PREFIX}:stopped`;

function sliceNumber(slice: number): string {
  return String(slice).padStart(7, "0");
}
