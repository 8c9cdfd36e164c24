/** What `labelmill serve --with-worker` starts for one model, in a separate process: Redis, a worker and the API. */
import { mkdir } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { declaredOf } from "../../src/cli/serve/declare-models.ts";
import { createLogger } from "../../src/logger.ts";
import type { Rule } from "../../src/schemas/enrichment/rule.ts";
import { openDeps } from "../../src/server/open-deps.ts";
import { startServer } from "../../src/server/server.ts";
import { S3, type S3Settings } from "../../src/storage/s3/s3.ts";
import { type RunningWorker, startWorker } from "../../src/workers/worker.ts";
import { defaultConfig } from "../config.ts";
import { openModel } from "../inputs/models.ts";
import { answerCalls } from "../processes/calls.ts";
import { startOwnRedis, startTcpRedis } from "../processes/redis.ts";

export type ServeStart = {
  model: string;
  /** Of the budgets that the worker finds. */
  cacheDir: string;
  /** The folder of the output. */
  out: string;
  /** The folder of the state store. */
  state: string;
  /** Also labels the images that are uploaded to this bucket, and writes their labels beside them. */
  uploads?: { s3: S3Settings; bucket: string; model: string };
  /** Redis listens on a port, for other processes. Otherwise on a unix socket, as `serve` starts it. */
  tcp?: boolean;
};

const opened = new AsyncDisposableStack();
let started: RunningWorker | undefined;

const calls = {
  start: async ({ model: ref, cacheDir, out, state, uploads, tcp }: ServeStart) => {
    for (const folder of [out, state]) await mkdir(folder, { recursive: true });
    const config = { ...defaultConfig(), port: 0, cacheDir, ...(uploads ? rulesFor(uploads, [out, cacheDir]) : {}) };
    const log = createLogger(config.logLevel, false);
    const s3 = new S3(uploads?.s3);
    opened.defer(() => s3.close());
    const redis = tcp ? opened.use(await startTcpRedis()) : await ownRedis();
    const address = "url" in redis ? { url: redis.url } : redis.address;
    const model = await openModel(ref);
    const models = uploads ? [model, await openModel(uploads.model)] : [model];
    const bucket = uploads ? [`s3://${uploads.bucket}/`] : [];
    const roots = { files: [out, cacheDir], s3: bucket, outputs: [out, cacheDir, ...bucket] };
    const worker = await startWorker({ redis: address, config, models, s3, log, roots });
    opened.defer(() => worker.close());
    started = worker;
    const stopping = new AbortController();
    const places = { output: pathToFileURL(`${out}/`).href, state: pathToFileURL(`${state}/`).href };
    const declared = models.map((each) => declaredOf(each.id, each));
    const options = { config, log, redis: address, s3, ...places, models: declared, stopping: stopping.signal };
    const deps = await openDeps(options, opened);
    const server = await startServer(deps);
    opened.defer(async () => {
      stopping.abort();
      await server.close(config.graceMs);
    });
    return { url: server.url, redis: "url" in redis ? redis.url : undefined, output: places.output, model: model.id };
  },

  /** Whether the worker has found how to run its model. */
  settled: async (_: Record<string, never>) => started!.engines[0]!.settled,
};
export type ServeCalls = typeof calls;

function rulesFor({ bucket, model }: NonNullable<ServeStart["uploads"]>, folders: string[]) {
  const match = { bucket, prefix: "", suffix: ".jpg" };
  const rule = { name: "uploads", match, kind: "image", model, results: [{ to: "sidecar" }] } satisfies Rule;
  // Sidecars are written only where this setting says so.
  return { rules: [rule], outputRoots: [...folders, `s3://${bucket}/`] };
}

async function ownRedis() {
  const server = await startOwnRedis();
  opened.defer(() => server.close());
  return server;
}

answerCalls(calls, () => opened.disposeAsync());
