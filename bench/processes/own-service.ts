import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { S3Settings } from "../../src/storage/s3/s3.ts";
import { CalledProcess } from "./calls.ts";
import type { ProducerCalls } from "./producer-process.ts";
import { startTcpRedis } from "./redis.ts";
import type { WorkerCalls } from "./worker-process.ts";

/** The benchmark's own service: Redis, a producer and optionally a worker and S3, each in a separate process. */
export type Service = {
  redis: string;
  producer: CalledProcess<ProducerCalls>;
  worker: CalledProcess<WorkerCalls>;
  /** URIs in which the worker may open outputs. */
  outputs: { folder: string; s3?: string };
};

/** Where S3 is, and a bucket in it. */
export type S3Place = { settings: S3Settings; bucket: string };

/** @param open closes it in reverse order; the worker process exists, but does not work yet */
export async function openService(
  open: AsyncDisposableStack,
  { folder, model, s3 }: { folder: string; model: string; s3?: S3Place },
  signal: AbortSignal,
): Promise<Service> {
  const into = join(folder, "outputs");
  await mkdir(into, { recursive: true });
  const { url: redis } = open.use(await startTcpRedis());
  const worker = open.use(new CalledProcess<WorkerCalls>(new URL("./worker-process.ts", import.meta.url), signal));
  const producer = open.use(
    new CalledProcess<ProducerCalls>(new URL("./producer-process.ts", import.meta.url), signal),
  );
  await producer.call("start", { redis, model, s3: s3?.settings ?? {} });
  const outputs = { folder: `${pathToFileURL(into)}/`, ...(s3 ? { s3: `s3://${s3.bucket}/` } : {}) };
  return { redis, producer, worker, outputs };
}
