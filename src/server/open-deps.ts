import type { Config } from "../config.ts";
import { openBucketEvents } from "../events/open-events.ts";
import { AcceptingSink } from "../events/sink.ts";
import type { Logger } from "../logger.ts";
import { Idempotency } from "../producers/accept/idempotency.ts";
import { openAccepter } from "../producers/accept/open-accepter.ts";
import { serverSecret } from "../producers/accept/server-secret.ts";
import { Backlog } from "../producers/client/backlog.ts";
import { openProducer } from "../producers/client/redis-producer.ts";
import { openRedis, type RedisAddress } from "../redis/connect.ts";
import { RunIndex } from "../runs/run-index.ts";
import type { ResultTarget } from "../schemas/enrichment/target.ts";
import { DEFAULT_SLICE_ITEMS } from "../schemas/job.ts";
import { openStore } from "../storage/open.ts";
import type { S3 } from "../storage/s3/s3.ts";
import { checkTargets } from "../webhooks/endpoints.ts";
import { openWebhooks } from "../webhooks/service.ts";
import type { ServerDeps } from "./deps.ts";
import { KeyCache } from "./keys/key-cache.ts";
import { KeyRing } from "./keys/key-ring.ts";
import { KeyStore } from "./keys/key-store.ts";
import { UploadSweep } from "./label/upload-sweep.ts";
import { RedisWatch } from "./limits/redis-watch.ts";
import { type DeclaredModel, DeclaredModels } from "./models/declared-models.ts";

/** A request waits no longer than this for room in a Redis that is out of memory, in ms. */
const MAX_FULL_MS = 2_000;

export type ServerOptions = {
  config: Config;
  log: Logger;
  redis: RedisAddress;
  s3: S3;
  /** The URI of the output: `file:///FOLDER/` or `s3://BUCKET/PREFIX/`. */
  output: string;
  /** The URI of the state store. */
  state: string;
  models: readonly DeclaredModel[];
  /** Aborts when the server stops. */
  stopping: AbortSignal;
};

/**
 * Opens what the routes work with, and starts to send webhooks.
 * @param opening closes it, in reverse order
 * @throws LabelmillError REDIS_UNREACHABLE, REDIS_UNFIT; STORE_FAILED if the output or the state store cannot be used;
 * CONFIG_INVALID for a webhook endpoint with an address that may not be used
 */
export async function openDeps(options: ServerOptions, opening: AsyncDisposableStack): Promise<ServerDeps> {
  const { config, log, redis: address, s3, stopping } = options;
  const [store, state] = await Promise.all([openStore(options.output, s3), openStore(options.state, s3)]);
  const redis = await openRedis(address, "producer");
  opening.defer(() => redis.disconnect());
  const redisWatch = new RedisWatch(redis);
  opening.defer(() => redisWatch.close());
  const keys = await KeyRing.open({
    ...{ store: new KeyStore(state), cache: new KeyCache(redis, state.uri), log },
    bootstrapSha256: config.bootstrapKeySha256,
  });
  opening.defer(() => keys.close());
  const models = new DeclaredModels(options.models);
  const producer = await openProducer(address, {
    ...{ output: store.uri, s3, declared: options.models, fullMs: Math.min(config.fullMs, MAX_FULL_MS) },
    sliceItems: config.sliceItems ?? DEFAULT_SLICE_ITEMS,
  });
  opening.defer(() => producer.close());
  const runIndex = new RunIndex(redis);
  const mayDeliver = (targets: readonly ResultTarget[]) => checkTargets(targets, config);
  const accepter = await openAccepter({
    ...{ redis: address, producer, index: runIndex, s3, log, accept: config.accept },
    checkTargets: mayDeliver,
  });
  opening.defer(() => accepter.close());
  const settle = (run: string, id: string) => accepter.settleDelivery(run, id);
  const webhooks = await openWebhooks({ config, redis: address, state, log, settle });
  opening.defer(() => webhooks.close());
  const secret = await serverSecret(state);
  const idempotency = new Idempotency(state, secret);
  const events = openBucketEvents(
    {
      ...{
        config,
        log,
        redis,
        s3,
        secret,
        stores: [store.uri, state.uri],
        model: (name) => models.find(name),
        checkTargets: mayDeliver,
      },
      sink: new AcceptingSink({ config, log, redis, s3, accepter, output: producer.output }),
    },
    opening,
  );
  if (config.keepUploads !== "always") {
    const sweep = new UploadSweep({ store, redis, models, log, keepMs: config.keepUploads });
    opening.defer(() => sweep.close());
    sweep.start();
  }
  return {
    ...{ config, log, address, redis, redisWatch, store, state, s3, stopping, models, keys },
    ...{ producer, accepter, runIndex, backlog: new Backlog(redis), idempotency, secret, events },
  };
}
