import { randomBytes } from "node:crypto";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { LabelmillError } from "../errors.ts";
import { servedAs, WorkerRegistry } from "../fleet/registry.ts";
import { describeAddress, openRedis } from "../redis/connect.ts";
import { Channels } from "../runs/channels.ts";
import { RunLedger } from "../runs/ledger.ts";
import { openOutput } from "../runs/output.ts";
import { openQueue } from "../runs/queue.ts";
import { SingleEnds } from "../runs/singles.ts";
import { RunChanges } from "../runs/watch.ts";
import { type LabelEvent, parseEvent } from "../schemas/event.ts";
import { type Job, JobSchema } from "../schemas/job.ts";
import { FEED_CHANNEL, type Lane, queueName, SCHEMA_VERSION, singleKey } from "../schemas/names.ts";
import type { ModelPin, RunFile } from "../schemas/run.ts";
import { SOFTWARE } from "../software.ts";
import { cutSlices, type Slice } from "../sources/slices.ts";
import type { Source } from "../sources/source.ts";
import { openStore } from "../storage/open.ts";
import { S3, type S3Settings } from "../storage/s3.ts";
import { driveRun } from "./drive.ts";
import { PlannedRun } from "./planned-run.ts";
import { Planner } from "./planner.ts";
import { Room } from "./room.ts";
import { SingleRun } from "./single-run.ts";
import { type Submission, sourceOf } from "./submission.ts";

export type ProducerOptions = {
  /** `redis://` or `rediss://`, that of the workers. */
  redisUrl: string;
  /**
   * `s3://BUCKET/PREFIX/`, or `file:///FOLDER/` that all workers see. A submission of one slice becomes the object
   * `single-RUN.jsonl` there, a larger one an output of its own, `RUN/`.
   */
  output: string;
  /** Where S3 is; what is not told, the AWS SDK finds by itself. */
  s3?: S3Settings;
  /** Items in a slice; what is not more is one job. 1..20,000, default 500. */
  sliceItems?: number;
  /** How long a submission waits for room in a Redis that is out of memory, in milliseconds. Default 60,000. */
  fullMs?: number;
};

const DEFAULTS = { sliceItems: 500, sliceBytes: 1_000_000, windowSlices: 32, fullMs: 60_000 } as const;
const RETRIES = { attempts: 5, backoffMs: 1_000 } as const;
/** Workers tell of themselves every ten seconds: asking for each submission would only cost round trips. */
const WORKERS_HELD_MS = 2_000;

/** Submits texts and images to the workers of a Redis, and hears of their labels. Made by `createProducer`; close it. */
export class Producer implements AsyncDisposable {
  readonly #options: ProducerOptions & typeof DEFAULTS;
  readonly #redis: Redis;
  readonly #channels: Channels;
  readonly #closing = new AbortController();
  readonly #s3: S3;
  readonly #ends: SingleEnds;
  readonly #room: Room;
  readonly #queues = new Map<string, Queue>();
  readonly #under = new Set<Promise<unknown>>();
  readonly #close: () => void;
  #workers: { at: number; found: ReturnType<WorkerRegistry["workers"]> } | undefined;

  /** @param close ends the connections */
  constructor(options: ProducerOptions, redis: Redis, channels: Channels, close: () => void) {
    this.#options = { ...DEFAULTS, ...options } as ProducerOptions & typeof DEFAULTS;
    this.#redis = redis;
    this.#channels = channels;
    this.#close = close;
    this.#s3 = new S3(options.s3);
    this.#ends = new SingleEnds(redis);
    this.#room = new Room(redis, this.#options.fullMs, () => {});
  }

  /**
   * Queues items: as one job where they fit into a slice, else as a run with a manifest. Resolves when they are queued, or are
   * being queued as room comes.
   * @throws LabelmillError NO_WORKER (nobody serves the model), USAGE, INPUT_EMPTY, REDIS_FULL, REDIS_UNREACHABLE; nothing was
   * queued then
   */
  async submit(submission: Submission): Promise<SingleRun | PlannedRun> {
    this.#closing.signal.throwIfAborted();
    try {
      return await this.#submit(submission);
    } catch (error) {
      if (error instanceof LabelmillError || this.#redis.status === "ready") throw error;
      const where = describeAddress({ url: this.#options.redisUrl });
      throw new LabelmillError("REDIS_UNREACHABLE", `lost Redis at ${where}: submit again when it is back`, {
        cause: error,
      });
    }
  }

  async #submit(submission: Submission): Promise<SingleRun | PlannedRun> {
    const { pin, labels } = await this.#resolve(submission);
    const topK = Math.min(submission.topK ?? 5, labels);
    const source = sourceOf(submission);
    const { sliceItems, sliceBytes } = this.#options;
    const slices = cutSlices([source], { items: sliceItems, bytes: sliceBytes });
    const first = await slices.next();
    const second = await slices.next();
    const run = randomBytes(8).toString("hex");
    const output = `${this.#options.output.replace(/\/$/, "")}/`;
    return second.done
      ? this.#submitSingle(run, output, first.value as Slice, pin, topK, submission)
      : this.#submitRun(run, `${output}${run}/`, source, pin, topK, submission);
  }

  /**
   * Tells of every event on the results queue from now on, of whatever producer, and takes none from it. An event may be told
   * twice, and is lost while the connection is. @returns what ends that
   */
  async subscribe(listener: (event: LabelEvent) => void): Promise<() => void> {
    return this.#channels.listen(FEED_CHANNEL, (text) => {
      const event = parseEvent(text);
      if (event) listener(event);
    });
  }

  /** Ends the connections. Who still waits for a run is told ABORTED; what is queued is done all the same. */
  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new LabelmillError("ABORTED", "the producer was closed"));
    await Promise.allSettled(this.#under);
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    this.#s3.close();
    this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #submitSingle(
    run: string,
    output: string,
    { sources, items }: Slice,
    pin: ModelPin,
    topK: number,
    { lane = "interactive", events = "rows" }: Submission,
  ): Promise<SingleRun> {
    const { id, digest, task } = pin;
    const job: Job = JobSchema.parse({
      v: SCHEMA_VERSION,
      run,
      slice: 0,
      model: { id, digest, task },
      output,
      key: singleKey(run),
      topK,
      events,
      single: true,
      sources,
      items,
    } satisfies Job);
    return SingleRun.start(
      {
        job,
        queue: this.#queue(pin, lane),
        retries: RETRIES,
        room: this.#room,
        channels: this.#channels,
        ends: this.#ends,
        openStore: (uri) => openStore(uri, this.#s3),
      },
      this.#closing.signal,
    );
  }

  async #submitRun(
    run: string,
    output: string,
    source: Source,
    pin: ModelPin,
    topK: number,
    { lane = "bulk", events = "parts" }: Submission,
  ): Promise<PlannedRun> {
    const { sliceItems, sliceBytes, windowSlices } = this.#options;
    const store = await openStore(output, this.#s3);
    const { format, delimiter, column } = source.read;
    const wanted: RunFile = {
      schemaVersion: SCHEMA_VERSION,
      run,
      createdAt: new Date().toISOString(),
      software: SOFTWARE,
      spec: { model: pin, read: source.read, topK, sliceItems, sliceBytes, events },
      inputs: [{ ...source.input, read: { format, delimiter, column } }],
    };
    const { runFile } = await openOutput(store, wanted);
    const ledger = new RunLedger(this.#redis);
    const options = { lane, windowSlices, retries: RETRIES, room: this.#room };
    const planner = new Planner(this.#redis, ledger, runFile, store.uri, options);
    const changes = await RunChanges.open(this.#channels, run);
    const slices = () => cutSlices([source], { items: sliceItems, bytes: sliceBytes });
    const driven = driveRun({ run, ledger, planner, changes, slices, onProgress: () => {} }, this.#closing.signal);
    const ended = driven.finally(async () => {
      changes.close();
      await planner.close();
    });
    this.#under.add(ended);
    ended.catch(() => {}).finally(() => this.#under.delete(ended));
    return new PlannedRun(run, store, ended);
  }

  async #resolve({ model, pin }: Submission): Promise<{ pin: ModelPin; labels: number }> {
    if (pin) return { pin, labels: Number.MAX_SAFE_INTEGER };
    if (!this.#workers || performance.now() - this.#workers.at > WORKERS_HELD_MS)
      this.#workers = { at: performance.now(), found: new WorkerRegistry(this.#redis).workers() };
    const { found: asked } = this.#workers;
    const versions = servedAs(await asked.catch((error: unknown) => this.#forget(error)), model);
    const [found] = versions;
    if (found && versions.length === 1) {
      const { id, revision, digest, dtype, task, labels } = found;
      return { pin: { id, revision, digest, dtype, task }, labels };
    }
    this.#workers = undefined;
    const several = versions.map(({ id, digest }) => `${id}@${digest.slice(0, 8)}`).join(", ");
    throw new LabelmillError(
      "NO_WORKER",
      found
        ? `workers serve several versions of ${model}: name one of ${several}`
        : `nobody serves ${model}: start one (labelmill worker --models ${model})`,
    );
  }

  #forget(error: unknown): never {
    this.#workers = undefined;
    throw error;
  }

  #queue(pin: ModelPin, lane: Lane): Queue {
    const name = queueName(pin, lane);
    const queue = this.#queues.get(name) ?? openQueue(this.#redis, name);
    this.#queues.set(name, queue);
    return queue;
  }
}

/**
 * Opens a producer.
 * @throws LabelmillError REDIS_UNREACHABLE, REDIS_UNFIT, CONFIG_INVALID, each with the mend
 */
export async function createProducer(options: ProducerOptions): Promise<Producer> {
  const address = { url: options.redisUrl };
  const redis = await openRedis(address, "producer");
  try {
    const subscriber = await openRedis(address, "producer");
    return new Producer(options, redis, new Channels(subscriber), () => {
      redis.disconnect();
      subscriber.disconnect();
    });
  } catch (error) {
    redis.disconnect();
    throw error;
  }
}
