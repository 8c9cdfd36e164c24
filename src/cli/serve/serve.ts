import { once } from "node:events";
import { LabelmillError } from "../../errors.ts";
import { WorkerRegistry } from "../../fleet/registry.ts";
import type { NotReady } from "../../health/health.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import type { DeclaredModel } from "../../server/models/declared-models.ts";
import { openDeps } from "../../server/open-deps.ts";
import { type RunningServer, startServer } from "../../server/server.ts";
import { openStore } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { openHealthPort } from "../health-port.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { s3Of } from "../s3.ts";
import { declaredOf, declareModels, readRegistered } from "./declare-models.ts";
import { greeting } from "./greeting.ts";
import { redisOf } from "./own-redis.ts";
import { loadOwnModels, startOwnWorker } from "./own-worker.ts";
import { type Places, placesOf } from "./places.ts";

export type ServeOptions = { models?: string[]; withWorker?: boolean; out?: string };

/** What `serve` opened before it listens. */
type Opened = { redis: RedisAddress; models: DeclaredModel[] };

/**
 * `labelmill serve`: serves the HTTP API until `signal` aborts. Then it takes no more requests, answers the waiting ones, finishes the
 * running slices, and closes everything.
 * @returns the exit code after a normal end
 * @throws LabelmillError
 */
export async function serve(options: ServeOptions, context: CommandContext, signal: AbortSignal): Promise<number> {
  const { config, terminal, log, interrupts } = context;
  if (!config.redisUrl && options.withWorker !== true)
    throw new LabelmillError(
      "USAGE",
      "expected REDIS_URL, or --with-worker: the Redis server that this command starts has no other workers",
    );
  const places = placesOf(options.out, config);
  const times = stopTimes(config.graceMs, options.withWorker === true);
  interrupts?.handle({ describe: () => "stopping: no request was taken yet" });
  await using open = new AsyncDisposableStack();
  const lost = new AbortController();
  const stopping = AbortSignal.any([signal, lost.signal]);
  let server: RunningServer | undefined;
  await openHealthPort(config, open, () => readiness(server, stopping));
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  try {
    // First: Redis has its data there, and its own errors would be less clear.
    await openStore(places.state, s3);
    const { redis, models } = await openWork(options, context, { places, s3, open, lost, signal });
    const { output, state } = places;
    const answers = { ...config, graceMs: times.answersMs };
    const deps = await openDeps({ config: answers, log, redis, s3, output, state, models, stopping }, open);
    signal.throwIfAborted();
    server = await startServer(deps);
    const { url, close } = server;
    open.defer(() => close(times.requestsMs));
    interrupts?.handle({
      describe: () => `answering the waiting requests for at most ${config.graceMs / 1000} s`,
      graceMs: config.graceMs,
    });
    for (const line of greeting(url, models, places, await server.needsKey())) terminal.say(line);
  } catch (error) {
    if (signal.aborted) return EXIT.ok;
    throw error;
  }
  if (!stopping.aborted) await once(stopping, "abort");
  if (signal.aborted) return EXIT.ok;
  interrupts?.endStuck(config.graceMs);
  throw lost.signal.reason;
}

/**
 * How the grace time is used. A worker in this process labels while requests wait for it, and finishes its slices then. Requests that wait
 * for labels are answered before connections are closed.
 */
function stopTimes(graceMs: number, withWorker: boolean): { answersMs: number; requestsMs: number; slicesMs: number } {
  const requestsMs = withWorker ? Math.ceil(graceMs / 2) : graceMs;
  return { answersMs: Math.ceil(requestsMs * 0.8), requestsMs, slicesMs: Math.max(100, graceMs - requestsMs) };
}

function readiness(server: RunningServer | undefined, stopping: AbortSignal): true | NotReady {
  if (stopping.aborted) return "stopping";
  if (!server) return "starting";
  return server.isReady || "no connection to Redis";
}

type OpenContext = { places: Places; s3: S3; open: AsyncDisposableStack; lost: AbortController; signal: AbortSignal };

/** Opens Redis, declares the models, and starts the worker of this process. */
async function openWork(
  { models: names, withWorker }: ServeOptions,
  context: CommandContext,
  { places, s3, open, lost, signal }: OpenContext,
): Promise<Opened> {
  const { config, terminal, log } = context;
  const startedAt = performance.now();
  const elapsed = () => ({ ms: Math.round(performance.now() - startedAt) });
  if (withWorker !== true) {
    const redis = await redisOf(context, places, open, lost);
    const settings = await openModels(config);
    const registered = await withRedis(redis, (connection) => readRegistered(new WorkerRegistry(connection)));
    const wanted = names ?? Object.values(settings.catalog.defaults);
    return { redis, models: await declareModels(wanted, registered, settings, new PullBar(terminal), signal) };
  }
  const [redis, own] = await allOf([
    redisOf(context, places, open, lost).finally(() => log.info(elapsed(), "Redis is ready")),
    loadOwnModels(names, context, signal).finally(() => log.info(elapsed(), "models are loaded")),
  ]);
  const slices = { ...config, graceMs: stopTimes(config.graceMs, true).slicesMs };
  const worker = await startOwnWorker(own, { ...context, config: slices }, { redis, s3, output: places.output });
  open.defer(() => worker.close());
  log.info(elapsed(), "the worker is ready");
  void worker.failed.then((error) => lost.abort(error));
  return { redis, models: own.loaded.map(({ name, model }) => declaredOf(name, model)) };
}

/** As Promise.all, but settles after all of them: what they open is then known to be opened. */
async function allOf<A, B>(work: [Promise<A>, Promise<B>]): Promise<[A, B]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
