import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { LabelmillError } from "../../errors.ts";
import { WorkerRegistry } from "../../fleet/registry.ts";
import type { Model } from "../../inference/model/model.ts";
import { type ModelSettings, resolveModel } from "../../models/resolve.ts";
import { planFromRunFile } from "../../producers/planning/plan-from-run-file.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { startEmbeddedRedis } from "../../redis/embedded/embedded.ts";
import { withRedis } from "../../redis/with-redis.ts";
import type { DeclaredModel } from "../../server/models/declared-models.ts";
import { openDeps } from "../../server/open-deps.ts";
import { startServer } from "../../server/server.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import { startWorker } from "../../workers/worker.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { localDevices } from "../local-devices.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { s3Of } from "../s3.ts";
import { declaredOf, declareModels } from "./declare-models.ts";
import { type Places, placesOf } from "./places.ts";

export type ServeOptions = { models?: string[]; withWorker?: boolean; out?: string };

/**
 * `labelmill serve`: serves the HTTP API until `signal` aborts.
 * @returns the exit code after a normal end
 * @throws LabelmillError
 */
export async function serve(options: ServeOptions, context: CommandContext, signal: AbortSignal): Promise<number> {
  const { config, terminal, log, interrupts } = context;
  const withWorker = options.withWorker === true;
  if (!config.redisUrl && !withWorker)
    throw new LabelmillError(
      "USAGE",
      "expected REDIS_URL, or --with-worker: the Redis server that this command starts has no other workers",
    );
  interrupts?.handle({ describe: () => "stopping" });
  const places = placesOf(options.out, config);
  await using open = new AsyncDisposableStack();
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const lost = new AbortController();
  const redis = await openRedisFor(context, places, open, lost);
  const models = withWorker
    ? await startOwnWorker(options, context, redis, places, s3, open, lost, signal)
    : await declare(options, context, redis, signal);
  const stopping = AbortSignal.any([signal, lost.signal]);
  const deps = await openDeps(
    { config, log, redis, s3, output: places.output, state: places.state, models, stopping },
    open,
  );
  const server = await startServer(deps);
  open.defer(() => server.close());
  terminal.say(`Listening on ${server.url} with ${models.map(({ name }) => name).join(", ")}`);
  if (!stopping.aborted) await once(stopping, "abort");
  if (lost.signal.aborted && !signal.aborted) throw lost.signal.reason;
  return EXIT.ok;
}

/** Connects to REDIS_URL, or starts a server that keeps its data in the state folder. */
async function openRedisFor(
  { config, environment, terminal }: CommandContext,
  { redisFolder }: Places,
  open: AsyncDisposableStack,
  lost: AbortController,
): Promise<RedisAddress> {
  if (config.redisUrl) return { url: config.redisUrl };
  const say = (line: string) => terminal.say(line);
  // With `--accept redis` Redis alone keeps what was accepted.
  const data = { folder: redisFolder, fsync: config.accept === "redis" ? "always" : "everysec" } as const;
  const server = await startEmbeddedRedis({ cacheDir: config.cacheDir, path: environment.path, say, data });
  let closing = false;
  open.defer(async () => {
    closing = true;
    await server.close();
  });
  void server.ended.then((reason) => {
    if (!closing)
      lost.abort(new LabelmillError("REDIS_UNREACHABLE", `the Redis server of this command ended (${reason})`));
  });
  return server.address;
}

/** Declares the models from the registrations of workers, else from the catalog. */
async function declare(
  options: ServeOptions,
  { config, terminal }: CommandContext,
  redis: RedisAddress,
  signal: AbortSignal,
): Promise<DeclaredModel[]> {
  const settings = await openModels(config);
  const workers = await withRedis(redis, (connection) => new WorkerRegistry(connection).workers());
  return declareModels(namesOf(options, settings), workers, settings, new PullBar(terminal), signal);
}

/** Starts a worker in this process. @returns its models, declared */
async function startOwnWorker(
  options: ServeOptions,
  context: CommandContext,
  redis: RedisAddress,
  { output }: Places,
  s3: S3,
  open: AsyncDisposableStack,
  lost: AbortController,
  signal: AbortSignal,
): Promise<DeclaredModel[]> {
  const { config, terminal, log, interrupts } = context;
  const devices = await localDevices(config);
  const settings = await openModels(config, { on: devices });
  const models: Model[] = [];
  const names = namesOf(options, settings);
  for (const name of names) models.push(await resolveModel(name, settings, new PullBar(terminal), signal));
  const folder = output.startsWith("file:") ? fileURLToPath(output) : undefined;
  const worker = await startWorker({
    ...{ redis, config, models, devices, s3, log, plan: planFromRunFile },
    roots: folder ? { files: [folder], s3: [], outputs: [folder] } : { files: [], s3: [output], outputs: [output] },
    ...(context.thread ? { thread: context.thread } : {}),
  });
  open.defer(() => worker.close());
  void worker.failed.then((error) => {
    interrupts?.endStuck(config.graceMs);
    lost.abort(error);
  });
  return models.map((model, at) => declaredOf(names[at]!, model));
}

function namesOf({ models }: ServeOptions, { catalog }: ModelSettings): string[] {
  return models ?? Object.values(catalog.defaults);
}
