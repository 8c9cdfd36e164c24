// Consumes the results queue with plain BullMQ, and handles each event once.
//   REDIS_URL=redis://127.0.0.1:6379 node examples/consume-results.ts
import { Worker } from "bullmq";
import { Redis } from "ioredis";
import { EventSchema, type LabelEvent } from "labelmill/schemas/event";
import { KEY_PREFIX, RESULTS_QUEUE } from "labelmill/schemas/names";

const connection = new Redis(process.env.REDIS_URL ?? "redis://127.0.0.1:6379", { maxRetriesPerRequest: null });
const DAY_SECONDS = 24 * 3600;

/** Handles an event. If it throws, the event is delivered again. */
async function handle(event: LabelEvent): Promise<void> {
  const what = event.failed ? `failed: ${event.failed.code}` : `${event.rows} rows, ${event.errors} in error`;
  console.log(
    event.id,
    what,
    JSON.stringify(event.labels),
    event.items?.map(({ id }) => id) ?? event.output + event.part,
  );
}

const worker = new Worker(
  RESULTS_QUEUE,
  async (job) => {
    const event = EventSchema.parse(job.data);
    // Events are delivered at least once. Store the id after handling the event: storing it before could lose the event.
    const seen = `my-service:seen:${event.id}`;
    if (await connection.exists(seen)) return;
    await handle(event);
    await connection.set(seen, "1", "EX", DAY_SECONDS);
  },
  { connection, prefix: KEY_PREFIX, concurrency: 8 },
);
worker.on("error", (error) => console.error(error.message));
process.once("SIGTERM", async () => {
  await worker.close();
  await connection.quit();
});
