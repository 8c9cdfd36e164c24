import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { openOutput } from "../../outputs/claim.ts";
import { newRunFile } from "../../outputs/run-file.ts";
import { describeAddress, openRedis } from "../../redis/connect.ts";
import { Channels } from "../../runs/channels.ts";
import { RunLedger } from "../../runs/ledger/ledger.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { SingleEnds } from "../../runs/single-results.ts";
import { RunChanges } from "../../runs/watch.ts";
import { type LabelEvent, parseEvent } from "../../schemas/event.ts";
import { type Job, JobSchema } from "../../schemas/job.ts";
import { FEED_CHANNEL, JOB_VERSION, type Lane, queueName, singleKey } from "../../schemas/names.ts";
import type { ModelPin } from "../../schemas/run.ts";
import { cutSlices, type Slice } from "../../sources/slices.ts";
import type { Source } from "../../sources/source.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import { S3, type S3Settings } from "../../storage/s3/s3.ts";
import { planAndWatch } from "../planning/plan-and-watch.ts";
import { Planner } from "../planning/planner.ts";
import { RedisRoom } from "../planning/redis-room.ts";
import { PlannedRun } from "./planned-run.ts";
import { type ProducerOptions, ProducerOptionsSchema, type ResolvedProducerOptions } from "./producer-options.ts";
import type { Run } from "./run.ts";
import { ServedModels } from "./served-models.ts";
import { SingleRun } from "./single-run.ts";
import { optionsOf, type ResolvedSubmission, type Submission, sourceOf } from "./submission.ts";

const SLICE_BYTES = 1_000_000;
const WINDOW_SLICES = 32;
const RETRIES = { attempts: 5, backoffMs: 1_000 } as const;

/**
 * Submits texts and images to workers through Redis, and receives their labels. Close it when it is
 * no longer needed: with `close()`, or with `await using` at the end of a block.
 */
export interface Producer extends AsyncDisposable {
  /**
   * Queues items to be labeled. A submission that fits into one slice is one job. A larger one is a
   * run of many jobs with a manifest. {@link ProducerOptions.sliceItems} sets the limit.
   *
   * @param submission - The items, the model and how to label them.
   * @returns The run. A submission of one slice is queued by then. A larger one is still being
   * queued, as fast as Redis has room.
   * @throws {@link LabelmillError} with one of these codes. No item was queued, unless it says so:
   * - `USAGE`: an option or an item has an invalid value.
   * - `INPUT_EMPTY`: it has no item.
   * - `NO_WORKER`: no worker serves the model, or workers serve several versions of it.
   * - `REDIS_FULL`: Redis stayed out of memory for {@link ProducerOptions.fullMs}.
   * - `REDIS_UNREACHABLE`: the connection is lost. The producer reconnects by itself: submit again
   *   later. If the connection was lost while the job was being sent, the job may have been queued.
   * - `STORE_FAILED`: the output cannot be written. Only for more than one slice.
   * - `ABORTED`: the producer is closed.
   */
  submit(submission: Submission): Promise<Run>;
  /**
   * Calls a listener for every event of every producer from now on, and takes none from the results
   * queue. An event may arrive twice. Events that are published while the connection is lost do not
   * arrive.
   *
   * @param listener - Called with each event. It must not throw.
   * @returns A function that ends the subscription.
   * @throws An error of the Redis connection if it is lost.
   */
  subscribe(listener: (event: LabelEvent) => void): Promise<() => void>;
  /**
   * Closes the connections. A caller that still waits for a run gets an error with the code
   * `ABORTED`. Workers finish what is queued. A second call does nothing.
   */
  close(): Promise<void>;
}

/** The producer of one Redis server. */
class RedisProducer implements Producer {
  readonly #options: ResolvedProducerOptions;
  readonly #redis: Redis;
  readonly #channels: Channels;
  readonly #closing = new AbortController();
  readonly #s3: S3;
  readonly #models: ServedModels;
  readonly #ends: SingleEnds;
  readonly #room: RedisRoom;
  readonly #queues = new Map<string, Queue>();
  /** The ends of the runs that are still being planned. */
  readonly #running = new Set<Promise<unknown>>();
  readonly #close: () => void;
  /** How often the connection was lost. */
  #losses = 0;

  /** @param close ends the connections */
  constructor(options: ResolvedProducerOptions, redis: Redis, channels: Channels, s3: S3, close: () => void) {
    this.#options = options;
    this.#redis = redis;
    this.#channels = channels;
    this.#close = close;
    this.#s3 = s3;
    redis.on("close", () => {
      this.#losses += 1;
    });
    this.#models = new ServedModels(redis);
    this.#ends = new SingleEnds(redis);
    this.#room = new RedisRoom(redis, this.#options.fullMs, () => {});
  }

  async submit(submission: Submission): Promise<Run> {
    this.#closing.signal.throwIfAborted();
    const before = this.#losses;
    try {
      return await this.#submit(submission);
    } catch (error) {
      if (error instanceof z.ZodError) throw wrongUse("submit", error);
      if (error instanceof LabelmillError || (before === this.#losses && (await this.#isConnected()))) throw error;
      // A lost connection rejects in a microtask. A caller that submits again in a loop would keep the event loop from reconnecting.
      await setImmediate();
      const where = describeAddress({ url: this.#options.redisUrl });
      throw new LabelmillError("REDIS_UNREACHABLE", `lost Redis at ${where}: submit again when it is back`, {
        cause: error,
      });
    }
  }

  async #submit(submission: Submission): Promise<Run> {
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

  async subscribe(listener: (event: LabelEvent) => void): Promise<() => void> {
    return this.#channels.listen(FEED_CHANNEL, (text) => {
      const event = parseEvent(text);
      if (event) listener(event);
    });
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new LabelmillError("ABORTED", "the producer was closed"));
    await Promise.allSettled(this.#running);
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
    { topK, lane = "interactive", events = "rows" }: ResolvedSubmission,
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
    { topK, lane = "bulk", events = "parts" }: ResolvedSubmission,
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
    const watched = planAndWatch({ run, ledger, planner, changes, slices, onProgress: () => {} }, this.#closing.signal);
    const ended = watched.finally(async () => {
      changes.close();
      await planner.close();
    });
    this.#running.add(ended);
    ended.catch(() => {}).finally(() => this.#running.delete(ended));
    return new PlannedRun(run, store, ended, ledger);
  }

  #cut(source: Source): AsyncGenerator<Slice> {
    return cutSlices([source], { size: { items: this.#options.sliceItems, bytes: SLICE_BYTES } });
  }

  /** Pings the server: the client may not have noticed a lost connection yet. */
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
 * Connects to Redis and returns a producer.
 *
 * @param given - The options of the producer.
 * @returns A producer with two open connections to Redis. Close it.
 * @throws {@link LabelmillError} with one of these codes. The message says how to fix it:
 * - `USAGE`: an option is unknown or has an invalid value.
 * - `CONFIG_INVALID`: `redisUrl` or `s3.endpoint` is not a valid URL of its kind.
 * - `REDIS_UNREACHABLE`: no connection within 5 seconds.
 * - `REDIS_UNFIT`: the server is older than Redis 6.2, or it may drop keys when its memory is full.
 */
export async function createProducer(given: ProducerOptions): Promise<Producer> {
  const parsed = ProducerOptionsSchema.safeParse(given);
  if (!parsed.success) throw wrongUse("createProducer", parsed.error);
  const options = parsed.data;
  // Before the connections: it refuses an invalid endpoint.
  const s3 = new S3(options.s3 as S3Settings | undefined);
  const address = { url: options.redisUrl };
  const redis = await openRedis(address, "producer");
  try {
    const subscriber = await openRedis(address, "producer");
    return new RedisProducer(options, redis, new Channels(subscriber), s3, () => {
      redis.disconnect();
      subscriber.disconnect();
    });
  } catch (error) {
    redis.disconnect();
    throw error;
  }
}

/** An argument that does not match the types, which JavaScript does not check. */
function wrongUse(call: string, error: z.ZodError): LabelmillError {
  const issue = error.issues[0]!;
  return new LabelmillError("USAGE", `${call}: ${issue.path.join(".") || "options"}: ${issue.message}`, {
    cause: error,
  });
}
