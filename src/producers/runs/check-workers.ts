import { LabelmillError } from "../../errors.ts";
import { FileGrants } from "../../fetch/grants.ts";
import { OutputGrants } from "../../fetch/output-grants.ts";
import { S3Grants } from "../../fetch/s3-grants.ts";
import { isCurrent, serving, WorkerRegistry } from "../../fleet/registry.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { JOB_VERSION } from "../../schemas/names.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";

/** The registered workers. @throws LabelmillError as `openRedis` */
export async function readWorkers(redis: RedisAddress): Promise<WorkerInfo[]> {
  return withRedis(redis, (connection) => new WorkerRegistry(connection).workers());
}

/** URIs that a worker has to open: the output, and folders and prefixes of images. */
export type Places = { output: string; inputs: readonly string[] };

/**
 * Checks, before anything is queued, that workers serve the model and may open all places of the run.
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

/** The flag and the environment variable that grant a place for reading. */
function rootsOf(place: string): readonly [string, string] {
  return place.startsWith("s3:") ? ["--s3-roots", "LABELMILL_S3_ROOTS"] : ["--file-roots", "LABELMILL_FILE_ROOTS"];
}

function notGranted(
  place: string,
  { pid, host }: WorkerInfo,
  [flag, variable]: readonly [string, string],
  cause: unknown,
): LabelmillError {
  const message = `${place} is not granted to the worker ${pid} on ${host}: start the worker with ${flag} (${variable}) that includes it`;
  return new LabelmillError("NOT_GRANTED", message, { cause });
}

/** @param model with its digest, if it is known */
export function noWorker(workers: readonly WorkerInfo[], model: { id: string; digest?: string }): LabelmillError {
  const digest = model.digest ?? "";
  const isOutdated = workers.some(
    (worker) =>
      !isCurrent(worker) && worker.models.some((each) => each.id === model.id && each.digest.startsWith(digest)),
  );
  const others = workers.flatMap(({ models }) => models.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`));
  const there = isOutdated
    ? `only older workers do, and they take no jobs of version ${JOB_VERSION}`
    : others.length === 0
      ? "no worker is registered"
      : `workers serve ${[...new Set(others)].sort().join(", ")}`;
  return new LabelmillError(
    "NO_WORKER",
    `no worker serves ${model.digest ? `${model.id}@${model.digest.slice(0, 8)}` : model.id}: ${there}. Start one (labelmill worker --models ${model.id}), label in this process (--with-worker), or queue for a later worker (--queue-anyway)`,
  );
}
