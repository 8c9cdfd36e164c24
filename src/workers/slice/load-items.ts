import { type ErrorCode, LabelmillError } from "../../errors.ts";
import type { FileGrants } from "../../fetch/grants.ts";
import type { S3Grants } from "../../fetch/s3-grants.ts";
import { itemsIn, type Job } from "../../schemas/job.ts";
import type { Split } from "../../schemas/split.ts";
import type { InputPlace } from "../../sources/bytes/origin.ts";
import { readSplit } from "../../sources/read-split.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { LoadedItem, LoadedJob } from "./loaded-job.ts";

/** Gets the items of a job: those that it carries, or those that it addresses. */
export type LoadItems = (job: Job, signal: AbortSignal) => Promise<LoadedJob>;

/**
 * Reads splits from granted inputs only: whoever can write to Redis must not be able to name a file of their choice.
 * @throws LabelmillError NOT_GRANTED, INPUT_NOT_FOUND, INPUT_CHANGED and what the input's store says
 */
export function itemLoader(grants: { files: FileGrants; s3: S3Grants }, s3: S3): LoadItems {
  const placeOf = async ({ input: { uri } }: Split): Promise<InputPlace> => {
    if (!uri.startsWith("s3:")) {
      const open = () => grants.files.open(uri).catch(asInput);
      return { path: await grants.files.resolve(uri).catch(asInput), open };
    }
    grants.s3.check(uri);
    return { s3 };
  };
  return async (job, signal) => {
    if (job.items) return { ...job, sources: job.sources!, items: job.items };
    const items: LoadedItem[] = [];
    const sources = job.splits!.map(({ input }) => input.uri);
    for (const [source, split] of job.splits!.entries()) {
      const before = items.length;
      for await (const record of readSplit(split, job.model.task, await placeOf(split), signal))
        items.push({ ...record, source });
      const expected = itemsIn({ splits: [split] });
      if (items.length - before !== expected) throw changed(split, expected, items.length - before);
    }
    return { ...job, sources, items };
  };
}

/** The grants speak of what items refer to: this is what the same means of an input. */
const AS_INPUT: Partial<Record<ErrorCode, ErrorCode>> = {
  IMAGE_NOT_FOUND: "INPUT_NOT_FOUND",
  IMAGE_INVALID: "INPUT_UNREADABLE",
  FETCH_UNAVAILABLE: "INPUT_UNREADABLE",
};

function asInput(error: unknown): never {
  if (!(error instanceof LabelmillError)) throw error;
  const code = AS_INPUT[error.code];
  throw code ? new LabelmillError(code, error.message, { cause: error, retryable: error.retryable }) : error;
}

function changed({ input, first, count }: Split, expected: number, came: number): LabelmillError {
  const where = `records ${first} to ${first + count - 1} of ${input.uri}`;
  return new LabelmillError(
    "INPUT_CHANGED",
    `${where}: expected ${expected} items, as planned, came ${came}: the input is not what it was; label it into another --out`,
  );
}
