import { randomBytes } from "node:crypto";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { jobRetries } from "../../../src/runs/queues/job-retries.ts";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import type { ResultTarget } from "../../../src/schemas/enrichment/target.ts";
import { type LabelEvent, parseEvent } from "../../../src/schemas/event.ts";
import type { Item } from "../../../src/schemas/item.ts";
import { type Job, JobSchema } from "../../../src/schemas/job.ts";
import { JOB_VERSION, jobId, queueName, runChannel, singleKey } from "../../../src/schemas/names.ts";
import type { TestPipeline } from "./pipeline.ts";

export type SingleRequest = {
  model: string;
  items: Partial<Item>[];
  results?: ResultTarget[];
  /** Default: a folder of the pipeline. */
  output?: string;
  attempts?: number;
};

/** Queues a single as a producer does. `ended`: its event. */
export async function submitSingle(
  pipeline: TestPipeline,
  { model, items, results, output = pipeline.output("out"), attempts = 3 }: SingleRequest,
): Promise<{ run: string; job: Job; ended: Promise<LabelEvent> }> {
  const { id, digest, task } = await loadBuiltIn(model);
  const run = randomBytes(8).toString("hex");
  const job = JobSchema.parse({
    ...{ v: JOB_VERSION, run, slice: 0, single: true, output, key: singleKey(run), topK: 2, events: "none" },
    ...{ model: { id, digest, task }, sources: ["submitted:"], ...(results ? { results } : {}) },
    items: items.map((item, record) => ({ id: `#${record}`, source: 0, record, ...item })),
  });
  const subscriber = await pipeline.connection();
  const ended = Promise.withResolvers<LabelEvent>();
  subscriber.on("message", (_channel, message) => {
    const event = parseEvent(message);
    if (event) ended.resolve(event);
  });
  await subscriber.subscribe(runChannel(run));
  const queue = openQueue(await pipeline.connection(), queueName({ id, digest }, "interactive"));
  await queue.add("slice", job, { jobId: jobId(run, 0), ...jobRetries({ attempts, backoffMs: 50 }) });
  await queue.close();
  return { run, job, ended: ended.promise };
}
