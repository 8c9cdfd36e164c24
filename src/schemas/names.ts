/** Names that producers and workers must agree on: queues, job ids, part keys, the files of an output. */
import { FILE_EXTENSIONS } from "./output.ts";

/** Major version of the files of an output, of events, and of the registration of workers. */
export const SCHEMA_VERSION = 1;

/**
 * Major version of the job schema. It is part of the names of the queues, so that an older worker never gets a job that
 * it cannot read.
 */
export const JOB_VERSION = 3;
/** The versions of jobs that a worker serves, the newest first. Producers of the version before still have a worker. */
export const SERVED_JOB_VERSIONS = [JOB_VERSION, 2] as const;
export type JobVersion = (typeof SERVED_JOB_VERSIONS)[number];

/** Prefix of every key in Redis. The braces make it a hash tag: all keys are in one slot of a cluster. */
export const KEY_PREFIX = "{labelmill}";

export const LANES = ["interactive", "bulk"] as const;
export type Lane = (typeof LANES)[number];

/** Jobs that close runs or make their output files. Every worker serves them, for all runs. */
export const RUNS_QUEUE = runsQueue(JOB_VERSION);
/** Jobs that plan runs and run until the end of the run. Every worker serves them. */
export const PLANS_QUEUE = plansQueue(JOB_VERSION);
/**
 * Jobs whose payload cannot be parsed, each with the reason. No process takes jobs from it. Workers of all versions share
 * it: its name has kept the version that it had first.
 */
export const DEAD_LETTER_QUEUE = "labelmill2.dead";
/** Deliveries to webhooks. `labelmill serve` takes them. */
export const WEBHOOKS_QUEUE = "labelmill-webhooks";
/** Events for the consumers of results: at least once, in a bounded number. */
export const RESULTS_QUEUE = "labelmill-results";

export const RUN_FILE = "_run.json";
export const PARTS_FILE = "_parts.jsonl";
/** Lists the files that were made of the parts, if any. */
export const FILES_FILE = "_files.jsonl";
export const MANIFEST_FILE = "_manifest.json";
export const SUCCESS_FILE = "_SUCCESS";
/** The folder of parts that output files are made of. It is emptied when these are complete. */
export const PARTS_FOLDER = "_parts/";
/** The folder of the files of rows in error, if the run has separate files for them. */
export const ERRORS_FOLDER = "_errors/";
/** The folder of retries of rows in error. Each retry is a separate output. */
export const RETRIES_FOLDER = "_retries/";
/** In the state store of a server: the keys in use, and the revoked ones. */
export const KEYS_FOLDER = "keys/";
export const REVOKED_KEYS_FOLDER = "revoked-keys/";
/**
 * The folder of uploaded images in the output of a server. Each upload is a folder in it, with the id of its run, or with another id and
 * an object that names the run.
 */
export const UPLOADS_FOLDER = "_uploads/";
/** The lease of the command that works on a local output. */
export const LOCK_FILE = "_lock";
/** The slices in progress of a command with an embedded Redis server, in a local output. */
export const JOURNAL_FILE = "_inflight";

/**
 * The folder of submissions that were accepted and have not ended, in the output of a server: `RUN.json`. Its files are removed at the
 * end.
 */
export const ACCEPTED_FOLDER = "_accepted/";

/** The queue of jobs that close runs or make their output files. */
export function runsQueue(version: JobVersion): string {
  return `labelmill${version}.runs`;
}

/** The queue of jobs that plan runs. */
export function plansQueue(version: JobVersion): string {
  return `labelmill${version}.plans`;
}

/** The queue of one digest of a model and one lane. */
export function queueName(
  model: { id: string; digest: string },
  lane: Lane,
  version: JobVersion = JOB_VERSION,
): string {
  const id = model.id.replaceAll(/[^A-Za-z0-9_-]/g, "-").slice(0, 64);
  return `labelmill${version}.${id}.${model.digest.slice(0, 8)}.${lane}`;
}

export function jobId(run: string, slice: number): string {
  return `${run}-${sliceNumber(slice)}`;
}

/** @returns undefined if the id is not one of a slice */
export function parseJobId(id: string): { run: string; slice: number } | undefined {
  const found = /^([0-9a-f]{16})-(\d{7})$/.exec(id);
  return found ? { run: found[1]!, slice: Number(found[2]) } : undefined;
}

/**
 * @param compacted after the output files are made. The job that queued them may still be running, so this one has
 * another id.
 */
export function finalizeJobId(run: string, compacted = false): string {
  return `${run}-finalize${compacted ? "-compacted" : ""}`;
}

export function compactJobId(run: string, range: number): string {
  return `${run}-compact-${range}`;
}

/** The name of a file made of the parts of slices `first` to `last`, in any folder of its output. */
export function dataFileName(run: string, first: number, last: number, extension: string): string {
  return `data-${sliceNumber(first)}-${sliceNumber(last)}-${run.slice(0, 8)}.${extension}`;
}

/** Whether a key in an output can be that of such a file, of any run. */
export function isDataFileKey(key: string): boolean {
  const found = /(?:^|\/)data-\d{7}-\d{7}-[0-9a-f]{8}\.([^/]+)$/.exec(key);
  return found !== null && FILE_EXTENSIONS.includes(found[1]!);
}

/**
 * The key of the part of a slice. It contains the id of the run, so that a late worker of another run cannot write it.
 * @param apart output files are made of the parts, which are in a separate folder until then
 */
export function partKey(run: string, slice: number, apart = false): string {
  return `${apart ? PARTS_FOLDER : ""}part-${sliceNumber(slice)}-${run.slice(0, 8)}.jsonl`;
}

/** The key of the part of a single. Many singles share one output, so it contains the whole id of the run. */
export function singleKey(run: string): string {
  return `single-${run}.jsonl`;
}

/** The key of an uploaded image. @param upload the id of the upload @param number of the image in it, from 0 */
export function uploadKey(upload: string, number: number): string {
  return `${UPLOADS_FOLDER}${upload}/${String(number).padStart(4, "0")}`;
}

/** The key of the empty object that names the run of an upload with another id. */
export function uploadRunKey(upload: string, run: string): string {
  return `${UPLOADS_FOLDER}${upload}/run-${run}`;
}

/** The key of the empty object that says when the run of an upload was found ended. @param seconds since 1970 */
export function uploadEndedKey(upload: string, seconds: number): string {
  return `${UPLOADS_FOLDER}${upload}/ended-${seconds}`;
}

/** Whether a URI can be that of an uploaded image, in any output. */
export function isUploadUri(uri: string): boolean {
  return /\/_uploads\/[0-9a-f]{16}\/\d{4}$/.test(uri);
}

/** @returns undefined if the key is not one of an upload */
export function parseUploadKey(
  key: string,
): ({ upload: string } & ({ image: number } | { run: string } | { ended: number })) | undefined {
  const found = /^_uploads\/([0-9a-f]{16})\/(?:(\d{4})|run-([0-9a-f]{16})|ended-(\d{1,15}))$/.exec(key);
  if (!found) return undefined;
  const [, upload, image, run, ended] = found as unknown as [string, string, string?, string?, string?];
  if (image !== undefined) return { upload, image: Number(image) };
  return run === undefined ? { upload, ended: Number(ended) } : { upload, run };
}

/** Whether a key in an output can be that of a part, of any run. */
export function isPartKey(key: string): boolean {
  return /^part-\d{7}-[0-9a-f]{8}\.jsonl$/.test(key);
}

/** The Redis channel for the changes of a run. For a single, it carries the event. */
export function runChannel(run: string): string {
  return `${KEY_PREFIX}:run:${run}:changed`;
}

/** The Redis channel that carries every event when it is queued, for readers that take no events from the queue. */
export const FEED_CHANNEL = `${KEY_PREFIX}:results:feed`;
/** The Redis channel that carries the id of every single when it ends. */
export const ENDS_CHANNEL = `${KEY_PREFIX}:singles:ended`;
/** The Redis channel for the ids of runs that were cancelled or failed. Workers stop working on them. */
export const STOPPED_CHANNEL = `${KEY_PREFIX}:stopped`;

function sliceNumber(slice: number): string {
  return String(slice).padStart(7, "0");
}
