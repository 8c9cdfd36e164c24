import { LabelmillError } from "../errors.ts";
import { FileGrants } from "../fetch/grants.ts";
import { OutputGrants } from "../fetch/output-grants.ts";
import { S3Grants } from "../fetch/s3-grants.ts";
import { serving, WorkerRegistry } from "../fleet/registry.ts";
import type { RedisAddress } from "../redis/connect.ts";
import { withRedis } from "../redis/with-redis.ts";
import type { ModelPin } from "../schemas/run.ts";
import type { WorkerInfo } from "../schemas/worker.ts";
import type { Source, SourceRecord } from "../sources/source.ts";

/** The workers that are there. Throws what `openRedis` does. */
export async function readWorkers(redis: RedisAddress): Promise<WorkerInfo[]> {
  return withRedis(redis, (connection) => new WorkerRegistry(connection).workers());
}

/** URIs that a worker has to open: of the output, and of folders and prefixes of images. */
export type Places = { output: string; inputs: readonly string[] };

/**
 * Whether the workers that serve the model could do the work, asked before anything is queued.
 * @throws LabelmillError NO_WORKER, NOT_GRANTED
 */
export async function checkWorkers(
  workers: readonly WorkerInfo[],
  model: ModelPin,
  { output, inputs }: Places,
): Promise<void> {
  const able = serving(workers, model.digest);
  if (able.length === 0) throw noWorker(workers, model);
  for (const worker of able) {
    const grants = { files: new FileGrants(worker.fileRoots), s3: new S3Grants(worker.s3Roots) };
    const outputs = new OutputGrants(worker);
    await outputs.check(output).catch((error: unknown) => {
      const setting = worker.outputRoots ? (["--output-roots", "LABELMILL_OUTPUT_ROOTS"] as const) : rootsOf(output);
      throw notGranted(output, worker, setting, error);
    });
    for (const place of inputs) {
      try {
        if (place.startsWith("s3:")) grants.s3.check(place);
        else await grants.files.resolveOutput(place);
      } catch (error) {
        throw notGranted(place, worker, rootsOf(place), error);
      }
    }
  }
}

/** The flag and the variable that grant a place for reading. */
function rootsOf(place: string): readonly [string, string] {
  return place.startsWith("s3:") ? ["--s3-roots", "LABELMILL_S3_ROOTS"] : ["--file-roots", "LABELMILL_FILE_ROOTS"];
}

function notGranted(
  place: string,
  { pid, host }: WorkerInfo,
  [flag, variable]: readonly [string, string],
  cause: unknown,
): LabelmillError {
  const message = `${place} is not granted to the worker ${pid} on ${host}: start it with ${flag} (${variable}) that covers it`;
  return new LabelmillError("NOT_GRANTED", message, { cause });
}

/** @param model its digest too, where it is known */
export function noWorker(workers: readonly WorkerInfo[], model: { id: string; digest?: string }): LabelmillError {
  const others = workers.flatMap(({ models }) => models.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`));
  const there = others.length === 0 ? "no worker is there" : `workers serve ${[...new Set(others)].sort().join(", ")}`;
  return new LabelmillError(
    "NO_WORKER",
    `nobody serves ${model.digest ? `${model.id}@${model.digest.slice(0, 8)}` : model.id}: ${there}. Start one (labelmill worker --models ${model.id}), give this command its own (--with-worker), or queue for one to come (--queue-anyway)`,
  );
}

/** @throws LabelmillError LOCAL_PATH_REMOTE_WORKER */
export function localPath(what: string, mend: string): LabelmillError {
  return new LabelmillError(
    "LOCAL_PATH_REMOTE_WORKER",
    `${what} is on this machine, and the workers of REDIS_URL may be on others: ${mend}, or say --shared-files if all of them see that path`,
  );
}

/**
 * References of an image source that only this machine can open. What can be read twice is read once before anything is queued;
 * of a list on standard input each such record becomes an error of its own.
 * @throws LabelmillError LOCAL_PATH_REMOTE_WORKER
 */
export async function withoutLocalImages(source: Source): Promise<Source> {
  if (source.input.uri === "stdin:") return { ...source, records: (idName) => marked(source.records(idName)) };
  for await (const record of source.records())
    if (isLocal(record)) throw localPath(`${record.image} (record ${record.record} of ${source.input.uri})`, MEND);
  return source;
}

const MEND = "put the images where workers reach them (s3://, https://)";

async function* marked(records: AsyncIterable<SourceRecord>): AsyncGenerator<SourceRecord> {
  for await (const record of records) {
    if (isLocal(record)) {
      const { code, message } = localPath(record.image, MEND);
      const { image: _image, ...rest } = record;
      yield { ...rest, error: { code, message } };
    } else yield record;
  }
}

function isLocal(record: SourceRecord): record is SourceRecord & { image: string } {
  return record.image?.startsWith("file:") === true;
}
