import { LabelmillError } from "../../errors.ts";
import type { Source, SourceRecord } from "../../sources/source.ts";

/**
 * A path that only this machine can open, for a run whose workers may be on other machines.
 * @param what the path, with what it is for
 * @param fix what the user can do about it
 */
export function localPath(what: string, fix: string): LabelmillError {
  return new LabelmillError(
    "LOCAL_PATH_REMOTE_WORKER",
    `${what} is on this machine, and the workers of REDIS_URL may run on others: ${fix}, or add --shared-files if all workers see this path`,
  );
}

/**
 * Refuses image references that only this machine can open. A source that can be read twice is checked before anything is queued.
 * In a list on standard input, each such record becomes a row in error.
 * @throws LabelmillError LOCAL_PATH_REMOTE_WORKER
 */
export async function withoutLocalImages(source: Source): Promise<Source> {
  if (source.input.uri === "stdin:") return { ...source, records: (idName) => marked(source.records(idName)) };
  for await (const record of source.records())
    if (isLocal(record)) throw localPath(`${record.image} (record ${record.record} of ${source.input.uri})`, FIX);
  return source;
}

const FIX = "put the images where workers can fetch them (s3://, https://)";

async function* marked(records: AsyncIterable<SourceRecord>): AsyncGenerator<SourceRecord> {
  for await (const record of records) {
    if (isLocal(record)) {
      const { code, message } = localPath(record.image, FIX);
      const { image: _image, ...rest } = record;
      yield { ...rest, error: { code, message } };
    } else yield record;
  }
}

function isLocal(record: SourceRecord): record is SourceRecord & { image: string } {
  return record.image?.startsWith("file:") === true;
}
