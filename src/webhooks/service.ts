import type { Config } from "../config.ts";
import type { Resolve } from "../fetch/guard.ts";
import { Poster } from "../fetch/post.ts";
import type { Logger } from "../logger.ts";
import { openRedis, type RedisAddress } from "../redis/connect.ts";
import { whenLost } from "../redis/outages.ts";
import { TransientError } from "../retry/transient-error.ts";
import { lockOptions, QueueWorker } from "../runs/queues/queue-worker.ts";
import { KEY_PREFIX, WEBHOOKS_QUEUE } from "../schemas/names.ts";
import type { ObjectStore } from "../storage/store.ts";
import { Deliverer } from "./deliver.ts";
import { EndpointCounts } from "./endpoint-counts.ts";
import { EndpointSlots } from "./endpoint-slots.ts";
import { checkEndpoints, type WebhookSettings } from "./endpoints.ts";
import { RETRY_WAITS_MS, retryWaitMs } from "./schedule.ts";
import { SEND_TIMEOUT_MS } from "./send.ts";

/** Deliveries that a server sends at a time, and those to one endpoint among them. */
const AT_ONCE = 64;
const AT_ONCE_TO_ENDPOINT = 8;
const STORE_WAIT_MS = 15_000;

export type WebhooksOptions = {
  config: WebhookSettings & Pick<Config, "lockMs" | "stallCheckMs" | "graceMs">;
  redis: RedisAddress;
  /** The state store. */
  state: ObjectStore;
  log: Logger;
  /** Marks a delivery as done in the record of its run. It is called at least once for each delivery that ends. */
  settle(run: string, id: string): Promise<void>;
  /** The waits between tries, in milliseconds. Default: RETRY_WAITS_MS */
  waitsMs?: readonly number[];
  /** Default: 10 s. */
  timeoutMs?: number;
  /** Default: 8 */
  atOnceToEndpoint?: number;
  /** The wait for a store that is not available. Default: 15 s. */
  storeWaitMs?: number;
  /** The name resolver. Default: the system's */
  resolve?: Resolve;
};

/** The part of a server that sends webhooks. */
export type Webhooks = {
  /** Takes no more deliveries. Running tries may end within the grace time; then they are given back. */
  close(): Promise<void>;
};

/**
 * Starts to send the deliveries of the webhooks queue.
 * @throws LabelmillError CONFIG_INVALID for an endpoint with an address that may not be used; REDIS_UNREACHABLE, REDIS_UNFIT
 */
export async function openWebhooks(options: WebhooksOptions): Promise<Webhooks> {
  const { config, log, settle } = options;
  const { waitsMs = RETRY_WAITS_MS, timeoutMs = SEND_TIMEOUT_MS, atOnceToEndpoint = AT_ONCE_TO_ENDPOINT } = options;
  checkEndpoints(config);
  const redis = await openRedis(options.redis, "worker");
  const poster = new Poster({ allowPrivate: config.allowPrivate, resolve: options.resolve });
  const stop = new AbortController();
  const deliverer = new Deliverer({
    ...{ settings: config, poster, settle, log, timeoutMs, stop: stop.signal, tries: waitsMs.length + 1 },
    storeWaitMs: options.storeWaitMs ?? STORE_WAIT_MS,
    state: options.state,
    counts: new EndpointCounts(redis),
    slots: new EndpointSlots(atOnceToEndpoint),
  });
  const worker = new QueueWorker(
    WEBHOOKS_QUEUE,
    (job, token) => deliverer.handle(job, token!),
    {
      ...{ connection: redis, prefix: KEY_PREFIX, concurrency: AT_ONCE, ...lockOptions(config) },
      settings: {
        backoffStrategy: (failed, _type, error) =>
          retryWaitMs(failed, error instanceof TransientError ? error.retryAfterMs : 0, waitsMs) ?? -1,
      },
    },
    log,
  );
  return {
    async close() {
      const grace = setTimeout(() => stop.abort(), config.graceMs);
      let isLost = false;
      const lost = whenLost(redis).then(() => {
        isLost = true;
      });
      await Promise.race([lost, worker.pause()]);
      clearTimeout(grace);
      stop.abort();
      // Without Redis no job can be finished or given back: another server takes them when their locks end.
      if (isLost) redis.disconnect();
      await worker.close(isLost);
      await poster.close();
      redis.disconnect();
    },
  };
}
