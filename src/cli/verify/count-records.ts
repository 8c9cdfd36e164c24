import { LabelmillError } from "../../errors.ts";
import type { RunFile, RunInput } from "../../schemas/run.ts";
import { OPEN_SOURCE } from "../../sources/open-source.ts";
import type { S3 } from "../../storage/s3/s3.ts";

/** Counts the records that an input of a run has now. @throws LabelmillError as opening the input; INPUT_NOT_FOUND for standard input */
export async function countRecords({ spec }: RunFile, { uri, from, read }: RunInput, s3: S3): Promise<number> {
  if (from === undefined || from === "-")
    throw new LabelmillError("INPUT_NOT_FOUND", `${uri} cannot be read again, so its records cannot be counted`);
  const source = await OPEN_SOURCE[spec.model.task](from, { ...spec.read, ...read }, s3);
  let records = 0;
  if (source.splitter)
    for await (const { next } of source.splitter.cuts(
      { record: 0 },
      () => ({ items: 20_000, bytes: 64_000_000 }),
      undefined,
    ))
      records = next.record;
  else for await (const _ of source.records()) records += 1;
  return records;
}
