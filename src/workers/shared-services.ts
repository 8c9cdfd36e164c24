import type { Redis } from "ioredis";
import type { Config } from "../config.ts";
import { Heartbeat, heartbeatTtlMs } from "../fleet/heartbeat.ts";
import type { Logger } from "../logger.ts";
import { whenLost } from "../redis/outages.ts";
import type { Channels } from "../runs/channels.ts";
import { Compactions } from "../runs/compactions.ts";
import { RunLedger } from "../runs/ledger/ledger.ts";
import { FinalizerQueue } from "../runs/queues/finalizer-queue.ts";
import { WebhookQueue } from "../runs/queues/webhook-queue.ts";
import { SingleEnds } from "../runs/single-results.ts";
import type { Outages } from "../storage/health/outages.ts";
import type { CrashRecord } from "./crashes/crash-record.ts";
import { Isolation } from "./crashes/isolation.ts";
import { RedisCrashRecord } from "./crashes/redis-crash-record.ts";
import { OutageBuffer } from "./outages/outage-buffer.ts";
import { DeadLetters } from "./queue/dead-letters.ts";
import { ResultEvents } from "./result-events.ts";
import { RunControl } from "./run-control.ts";

/** What all queues of a worker share. */
export type SharedServices = {
  ledger: RunLedger;
  singles: SingleEnds;
  compactions: Compactions;
  control: RunControl;
  crashRecord: CrashRecord;
  isolation: Isolation;
  deadLetters: DeadLetters;
  events: ResultEvents;
  webhooks: WebhookQueue;
  outages: Outages;
  outageBuffer: OutageBuffer;
  /** Queues the job that closes a run. All slices of the run must have ended. */
  finalize: (run: string, output: string) => Promise<void>;
  log: Logger;
};

export type SharedServicesOptions = {
  redis: Redis;
  channels: Channels;
  /** The worker's id in the registry. */
  id: string;
  config: Config;
  outages: Outages;
  /** Default: a record in Redis. */
  crashRecord: CrashRecord | undefined;
  log: Logger;
};

/** `opening` closes what is opened. */
export async function openSharedServices(
  { redis, channels, id, config, outages, crashRecord, log }: SharedServicesOptions,
  opening: AsyncDisposableStack,
): Promise<SharedServices> {
  const events = new ResultEvents(redis, config.resultsMaxWaiting);
  opening.defer(() => events.close());
  const webhooks = new WebhookQueue(redis);
  opening.defer(() => webhooks.close());
  const deadLetters = new DeadLetters(redis, log);
  opening.defer(() => deadLetters.close());
  const finalizers = new FinalizerQueue(redis, config);
  opening.defer(() => finalizers.close());
  const ledger = new RunLedger(redis);
  return {
    ledger,
    singles: new SingleEnds(redis),
    compactions: new Compactions(redis, finalizers),
    control: await RunControl.open(channels, ledger),
    crashRecord: crashRecord ?? (await openCrashRecord(redis, id, config, opening)),
    isolation: new Isolation(),
    deadLetters,
    events,
    webhooks,
    outages,
    outageBuffer: new OutageBuffer(config.heldBytes),
    finalize: (run, output) => finalizers.add(run, output),
    log,
  };
}

async function openCrashRecord(
  redis: Redis,
  id: string,
  { lockMs }: Config,
  opening: AsyncDisposableStack,
): Promise<CrashRecord> {
  const heartbeat = new Heartbeat(redis, id, heartbeatTtlMs(lockMs));
  opening.defer(() => Promise.race([heartbeat.end(redis.status === "ready"), whenLost(redis)]));
  await heartbeat.begin();
  return new RedisCrashRecord(redis, heartbeat);
}
