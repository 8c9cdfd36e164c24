import type { Job, Queue } from "bullmq";
import type { Redis } from "ioredis";
import { showUrl } from "../fetch/printable-url.ts";
import { openQueue, readJob } from "../runs/queues/queue.ts";
import { WebhookDeliverySchema } from "../schemas/enrichment/delivery.ts";
import type { WebhookTarget } from "../schemas/enrichment/target.ts";
import { WEBHOOKS_QUEUE } from "../schemas/names.ts";

const PAGE = 500;
/** Waiting deliveries that are read. More are not counted by endpoint. */
const MAX_READ = 50_000;

type Target = Pick<WebhookTarget, "endpoint" | "url">;

/** A delivery that is not tried again. */
export type DeadLetter = {
  id: string;
  /** Undefined if the payload cannot be read. */
  run?: string;
  target?: Target;
  tries: number;
  failedAt: string;
  reason: string;
};

/** The deliveries on the webhooks queue: those that wait, and the dead letters. */
export class KeptDeliveries {
  readonly #queue: Queue;

  constructor(redis: Redis) {
    this.#queue = openQueue(redis, WEBHOOKS_QUEUE);
  }

  /** The targets of the deliveries that wait for a try, or are tried now. */
  async *waiting(): AsyncGenerator<Target> {
    for await (const { data } of this.#jobs(["waiting", "active", "delayed"])) {
      const parsed = WebhookDeliverySchema.safeParse(data);
      if (parsed.success) yield parsed.data.target;
    }
  }

  /** The dead letters, the newest first. */
  async *dead(): AsyncGenerator<DeadLetter> {
    for await (const { id, data, attemptsMade, finishedOn, failedReason } of this.#jobs(["failed"])) {
      const parsed = WebhookDeliverySchema.safeParse(data);
      yield {
        id: id!,
        ...(parsed.success ? { run: parsed.data.run, target: parsed.data.target } : {}),
        tries: attemptsMade,
        failedAt: new Date(finishedOn ?? 0).toISOString(),
        reason: failedReason,
      };
    }
  }

  /**
   * Puts a dead letter back into the queue, with all its tries.
   * @returns false if there is no dead letter with this id
   */
  async retry(id: string): Promise<boolean> {
    const job = await readJob(this.#queue, id);
    if (!job || (await this.#queue.getJobState(id)) !== "failed") return false;
    // The outcome of its last delivery.
    await job.updateProgress({});
    await job.retry("failed", { resetAttemptsMade: true });
    return true;
  }

  async close(): Promise<void> {
    await this.#queue.close();
  }

  /** A job that ends meanwhile may be missing. */
  async *#jobs(states: ("waiting" | "active" | "delayed" | "failed")[]): AsyncGenerator<Job> {
    // All ids first: jobs that change their states would shift the pages.
    const ids = await this.#queue.getRanges(states, 0, MAX_READ - 1);
    for (let at = 0; at < ids.length; at += PAGE) {
      const jobs = await Promise.all(ids.slice(at, at + PAGE).map((id) => readJob(this.#queue, id)));
      for (const job of jobs) if (job) yield job;
    }
  }
}

/** A target for people: the name, or the URL without its query. */
export function showTarget({ endpoint, url }: Target): string {
  const parsed = URL.parse(url ?? "");
  return endpoint ?? (parsed ? showUrl(parsed) : "an invalid URL");
}
