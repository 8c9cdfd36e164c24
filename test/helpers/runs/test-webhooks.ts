import { randomBytes } from "node:crypto";
import { type Job, type Queue, QueueEvents } from "bullmq";
import type { Redis } from "ioredis";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { WebhookQueue } from "../../../src/runs/queues/webhook-queue.ts";
import { type WebhookDelivery, type WebhookEvent, webhookDelivery } from "../../../src/schemas/enrichment/delivery.ts";
import { KEY_PREFIX, WEBHOOKS_QUEUE } from "../../../src/schemas/names.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { openWebhooks, type Webhooks, type WebhooksOptions } from "../../../src/webhooks/service.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { LogLines } from "../log-lines.ts";
import { FAST, TestPipeline } from "./pipeline.ts";

/** The event of a run that succeeded with one row. */
export function endOfRun(run = randomBytes(8).toString("hex"), data: Partial<WebhookEvent["data"]> = {}): WebhookEvent {
  return {
    type: "run.ended",
    timestamp: new Date().toISOString(),
    data: {
      ...{ run, state: "succeeded", output: "s3://bucket/", part: `single-${run}.jsonl` },
      ...{ model: { id: "m", digest: "0".repeat(64) }, rows: 1, errors: 0, labels: { POSITIVE: 1 } },
      ...data,
    },
  };
}

/** How a delivery ended: the reason of a dead letter, or undefined if it was delivered. */
export type Outcome = string | undefined;

/** The service that sends webhooks, on its own Redis server and with a state store in memory. */
export class TestWebhooks implements AsyncDisposable {
  readonly pipeline: TestPipeline;
  readonly redis: Redis;
  readonly queue: Queue;
  readonly secret = newWebhookSecret();
  readonly state = new MemoryStore(randomBytes(8).toString("hex"));
  readonly lines = new LogLines();
  /** The deliveries that were settled, in their order. */
  readonly settled: string[] = [];
  readonly #events: QueueEvents;
  readonly #webhooks: WebhookQueue;

  private constructor(pipeline: TestPipeline, redis: Redis, queue: Queue, events: QueueEvents, webhooks: WebhookQueue) {
    this.pipeline = pipeline;
    this.redis = redis;
    this.queue = queue;
    this.#events = events;
    this.#webhooks = webhooks;
  }

  static async open(): Promise<TestWebhooks> {
    const pipeline = await TestPipeline.open();
    const redis = await pipeline.connection();
    const webhooks = new WebhookQueue(redis);
    pipeline.defer(() => webhooks.close());
    const queue = openQueue(redis, WEBHOOKS_QUEUE);
    pipeline.defer(() => queue.close());
    const events = new QueueEvents(WEBHOOKS_QUEUE, { connection: redis, prefix: KEY_PREFIX });
    events.on("error", () => {});
    pipeline.defer(() => events.close());
    await events.waitUntilReady();
    return new TestWebhooks(pipeline, redis, queue, events, webhooks);
  }

  /** Starts to send: private addresses are allowed, the waits between tries are short, and URLs have the secret. */
  async start(
    options: Partial<WebhooksOptions> & { settings?: Partial<WebhooksOptions["config"]> } = {},
  ): Promise<Webhooks> {
    const { settings, ...rest } = options;
    const service = await openWebhooks({
      config: {
        ...FAST,
        ...{ graceMs: 5000, allowPrivate: true, webhooks: [], webhookSecrets: [this.secret] },
        ...settings,
      },
      redis: this.pipeline.redis.address,
      state: this.state,
      log: this.lines.log,
      settle: async (_run, id) => void this.settled.push(id),
      waitsMs: [20, 20],
      storeWaitMs: 50,
      ...rest,
    });
    this.pipeline.defer(() => service.close());
    return service;
  }

  /** Queues the delivery of an event. */
  async add(target: { endpoint?: string; url?: string }, event = endOfRun()): Promise<WebhookDelivery> {
    const delivery = webhookDelivery(event, { to: "webhook", ...target });
    await this.#webhooks.add(delivery);
    return delivery;
  }

  /** Queues a delivery to a URL and waits for its end. */
  async deliver(url: string, event?: WebhookEvent): Promise<Outcome> {
    return this.outcome(await this.add({ url }, event));
  }

  async job(id: string): Promise<Job> {
    const job = await this.queue.getJob(id);
    if (!job) throw new Error(`the queue has no job ${id}`);
    return job;
  }

  /** Waits for the end of a delivery. */
  async outcome({ id }: { id: string }): Promise<Outcome> {
    const job = await this.job(id);
    return job.waitUntilFinished(this.#events).then(
      () => undefined,
      (error: Error) => error.message,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pipeline[Symbol.asyncDispose]();
  }
}
