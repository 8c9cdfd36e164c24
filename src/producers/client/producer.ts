import "../../node-version.ts";
import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { openOutput } from "../../outputs/output.ts";
import { newRunFile } from "../../outputs/run-file.ts";
import { describeAddress, openRedis } from "../../redis/connect.ts";
import { Channels } from "../../runs/channels.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { SingleEnds } from "../../runs/singles.ts";
import { RunChanges } from "../../runs/watch.ts";
import { type LabelEvent, parseEvent } from "../../schemas/event.ts";
import { DEFAULT_SLICE_ITEMS, type Job, JobSchema, MAX_SLICE_ITEMS } from "../../schemas/job.ts";
import { FEED_CHANNEL, JOB_VERSION, type Lane, queueName, singleKey } from "../../schemas/names.ts";
import type { ModelPin } from "../../schemas/run.ts";
import { cutSlices, type Slice } from "../../sources/slices.ts";
import type { Source } from "../../sources/source.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import { S3, type S3Settings } from "../../storage/s3/s3.ts";
import { driveRun } from "../planning/drive.ts";
import { Planner } from "../planning/planner.ts";
import { Room } from "../planning/redis-room.ts";
import { PlannedRun } from "./planned-run.ts";
import { ServedModels } from "./served.ts";
import { SingleRun } from "./single-run.ts";
import { optionsOf, type Submission, type SubmissionOptions, sourceOf } from "./submission.ts";

const OptionsSchema = z.strictObject({
  /** `redis://` or `rediss://`, that of the workers. */
  redisUrl: z.string(),
  /**
   * `s3://BUCKET/PREFIX/`, or `file:///FOLDER/` that all workers see. A submission of one slice becomes the object
   * `single-RUN.jsonl` there, a larger one an output of its own, `RUN/`.
   */
  output: z.string().regex(/^(s3|file):\/\//, "expected s3://BUCKET/PREFIX/ or file:///FOLDER/"),
  /** Where S3 is; what is not told, the AWS SDK finds by itself. */
  s3: z
    .strictObject({ endpoint: z.string(), region: z.string(), pathStyle: z.boolean() } satisfies Record<
      keyof S3Settings,
      unknown
    >)
    .partial()
    .optional(),
  /** Items in a slice; what is not more is one job. */
  sliceItems: z.int().min(1).max(MAX_SLICE_ITEMS).default(DEFAULT_SLICE_ITEMS),
  /** How long a submission waits for room in a Redis that is out of memory, in milliseconds. */
  fullMs: z.int().min(0).default(60_000),
});
export type ProducerOptions = z.input<typeof OptionsSchema>;

const SLICE_BYTES = 1_000_000;
const WINDOW_SLICES = 32;
const RETRIES = { attempts: 5, backoffMs: 1_000 } as const;

/** Submits texts and images to the workers of a Redis, and hears of their labels. Made by `createProducer`; close it. */
export class Producer implements AsyncDisposable {
  readonly #options: z.infer<typeof OptionsSchema>;
  readonly #redis: Redis;
  readonly #channels: Channels;
  readonly #closing = new AbortController();
  readonly #s3: S3;
  readonly #models: ServedModels;
  readonly #ends: SingleEnds;
  readonly #room: Room;
  readonly #queues = new Map<string, Queue>();
  readonly #under = new Set<Promise<unknown>>();
  readonly #close: () => void;
  /** How often the connection was lost. */
  #losses = 0;

  /** @param close ends the connections */
  constructor(options: z.infer<typeof OptionsSchema>, redis: Redis, channels: Channels, close: () => void) {
    this.#options = options;
    this.#redis = redis;
    this.#channels = channels;
    this.#close = close;
    this.#s3 = new S3(options.s3 as S3Settings | undefined);
    redis.on("close", () => {
      this.#losses += 1;
    });
    this.#models = new ServedModels(redis);
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
    const before = this.#losses;
    try {
      return await this.#submit(submission);
    } catch (error) {
      if (error instanceof z.ZodError) throw wrongUse("submit", error);
      if (error instanceof LabelmillError || (before === this.#losses && (await this.#isConnected()))) throw error;
      // A lost connection refuses without a turn of the event loop: whoever submits again at once would never let it come back.
      await setImmediate();
      const where = describeAddress({ url: this.#options.redisUrl });
      throw new LabelmillError("REDIS_UNREACHABLE", `lost Redis at ${where}: submit again when it is back`, {
        cause: error,
      });
    }
  }

  async #submit(submission: Submission): Promise<SingleRun | PlannedRun> {
    const options = optionsOf(submission);
    const { pin, labels } = options.pin
      ? { pin: options.pin, labels: options.topK }
      : await this.#models.find(options.model);
    const topK = Math.min(options.topK, labels);
    const source = sourceOf(submission);
    const slices = this.#cut(source);
    const first = await slices.next();
    const second = await slices.next();
    const run = randomBytes(8).toString("hex");
    const output = `${this.#options.output.replace(/\/$/, "")}/`;
    return second.done
      ? this.#submitSingle(run, output, first.value as Slice, pin, { ...options, topK })
      : this.#submitRun(run, `${output}${run}/`, source, pin, { ...options, topK });
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
    { topK, lane = "interactive", events = "rows" }: SubmissionOptions,
  ): Promise<SingleRun> {
    const { id, digest, task } = pin;
    const job: Job = JobSchema.parse({
      v: JOB_VERSION,
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
        openToRead: (uri) => openToRead(uri, this.#s3),
      },
      this.#closing.signal,
    );
  }

  async #submitRun(
    run: string,
    output: string,
    source: Source,
    pin: ModelPin,
    { topK, lane = "bulk", events = "parts" }: SubmissionOptions,
  ): Promise<PlannedRun> {
    const { sliceItems } = this.#options;
    const store = await openStore(output, this.#s3);
    const wanted = newRunFile({
      run,
      spec: { model: pin, read: source.read, topK, sliceItems, sliceBytes: SLICE_BYTES, events },
      settings: { lane },
      inputs: [source],
    });
    const { runFile } = await openOutput(store, wanted);
    const ledger = new RunLedger(this.#redis);
    const options = { lane, windowSlices: WINDOW_SLICES, retries: RETRIES, room: this.#room };
    const planner = new Planner(this.#redis, ledger, runFile, store.uri, options);
    const changes = await RunChanges.open(this.#channels, run);
    const slices = () => this.#cut(source);
    const driven = driveRun({ run, ledger, planner, changes, slices, onProgress: () => {} }, this.#closing.signal);
    const ended = driven.finally(async () => {
      changes.close();
      await planner.close();
    });
    this.#under.add(ended);
    ended.catch(() => {}).finally(() => this.#under.delete(ended));
    return new PlannedRun(run, store, ended, ledger);
  }

  #cut(source: Source): AsyncGenerator<Slice> {
    return cutSlices([source], { size: { items: this.#options.sliceItems, bytes: SLICE_BYTES } });
  }

  /** A connection that broke a moment ago may not know it yet. */
  #isConnected(): Promise<boolean> {
    return this.#redis.ping().then(
      () => true,
      () => false,
    );
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
 * @throws LabelmillError USAGE, REDIS_UNREACHABLE, REDIS_UNFIT, CONFIG_INVALID, each with the mend
 */
export async function createProducer(given: ProducerOptions): Promise<Producer> {
  const parsed = OptionsSchema.safeParse(given);
  if (!parsed.success) throw wrongUse("createProducer", parsed.error);
  const options = parsed.data;
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

/** What was passed in is not what the types say: JavaScript lets that through. */
function wrongUse(call: string, error: z.ZodError): LabelmillError {
  const issue = error.issues[0]!;
  return new LabelmillError("USAGE", `${call}: ${issue.path.join(".") || "options"}: ${issue.message}`, {
    cause: error,
  });
}
