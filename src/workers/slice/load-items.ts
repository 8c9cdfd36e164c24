import { type ErrorCode, LabelmillError } from "../../errors.ts";
import type { Fetcher } from "../../fetch/fetcher.ts";
import type { FileGrants } from "../../fetch/grants.ts";
import type { S3Grants } from "../../fetch/s3-grants.ts";
import type { Item } from "../../schemas/item.ts";
import { itemsIn, type Job } from "../../schemas/job.ts";
import type { Split } from "../../schemas/split.ts";
import type { InputPlace } from "../../sources/bytes/origin.ts";
import { readSplit } from "../../sources/read-split.ts";
import type { SourceRecord } from "../../sources/source.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { loadTextFiles } from "../items/load-text-files.ts";

/** An item from the job or from one of its splits. `data`: the image itself, if the input contains it. */
export type LoadedItem = Item & Pick<SourceRecord, "data">;

/** A job with its items. */
export type LoadedJob = Omit<Job, "sources" | "items"> & { sources: readonly string[]; items: readonly LoadedItem[] };

/** Gets the items of a job: those inside it, with the texts of their files, or those of its splits. */
export type LoadItems = (job: Job, signal: AbortSignal) => Promise<LoadedJob>;

/**
 * Reads splits of granted inputs only: a client that can write to Redis must not be able to make the worker read a file
 * of its choice.
 * @throws LabelmillError NOT_GRANTED, INPUT_NOT_FOUND, INPUT_CHANGED and errors of the input's store
 */
export function itemLoader(grants: { files: FileGrants; s3: S3Grants }, s3: S3, fetcher: Fetcher): LoadItems {
  const placeOf = async ({ input: { uri } }: Split): Promise<InputPlace> => {
    if (!uri.startsWith("s3:")) {
      const open = () => grants.files.open(uri).catch(throwAsInputError);
      return { path: await grants.files.resolve(uri).catch(throwAsInputError), open };
    }
    grants.s3.check(uri);
    return { s3 };
  };
  return async (job, signal) => {
    if (job.items) {
      const hasFiles =
        job.model.task === "text-classification" && job.items.some((item) => item.textFile !== undefined);
      const items = hasFiles ? await loadTextFiles(job.items, fetcher, signal) : job.items;
      return { ...job, sources: job.sources!, items };
    }
    const items: LoadedItem[] = [];
    const sources = job.splits!.map(({ input }) => input.uri);
    for (const [source, split] of job.splits!.entries()) {
      const before = items.length;
      for await (const record of readSplit(split, job.model.task, await placeOf(split), signal))
        items.push({ ...record, source });
      const expected = itemsIn({ splits: [split] });
      if (items.length - before !== expected) throw inputChanged(split, expected, items.length - before);
    }
    return { ...job, sources, items };
  };
}

/** Grants report errors about image references. These are the codes of the same errors about an input. */
const INPUT_CODES: Partial<Record<ErrorCode, ErrorCode>> = {
  IMAGE_NOT_FOUND: "INPUT_NOT_FOUND",
  IMAGE_INVALID: "INPUT_UNREADABLE",
  FETCH_UNAVAILABLE: "INPUT_UNREADABLE",
};

function throwAsInputError(error: unknown): never {
  if (!(error instanceof LabelmillError)) throw error;
  const code = INPUT_CODES[error.code];
  throw code ? new LabelmillError(code, error.message, { cause: error, retryable: error.retryable }) : error;
}

function inputChanged({ input, first, count }: Split, expected: number, got: number): LabelmillError {
  const where = `records ${first} to ${first + count - 1} of ${input.uri}`;
  return new LabelmillError(
    "INPUT_CHANGED",
    `${where}: expected ${expected} items, as planned, got ${got}: the input has changed since; label it into another --out`,
  );
}
