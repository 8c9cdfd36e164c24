import { randomBytes } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Queue } from "bullmq";
import type { Redis } from "ioredis";
import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { getIfExists } from "../../outputs/output.ts";
import { describeAddress, openRedis, type RedisAddress } from "../../redis/connect.ts";
import { Channels } from "../../runs/channels.ts";
import { PlanQueue } from "../../runs/queues/plan-queue.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { partEnd, type SingleEnd, SingleEnds } from "../../runs/single-results.ts";
import { type LabelEvent, parseEvent } from "../../schemas/event.ts";
import { FEED_CHANNEL, type Lane, queueName } from "../../schemas/names.ts";
import type { ModelPin } from "../../schemas/run.ts";
import type { Slice } from "../../sources/slices.ts";
import { openToRead } from "../../storage/open.ts";
import { S3, type S3Settings } from "../../storage/s3/s3.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { RedisRoom } from "../planning/redis-room.ts";
import type { PlannedRun } from "./planned-run.ts";
import type { Producer } from "./producer.ts";
import type { ResolvedProducerOptions } from "./producer-options.ts";
import type { Run } from "./run.ts";
import { type DeclaredModel, ServedModels } from "./served-models.ts";
import { type ServerSubmission, serverOptionsOf } from "./server-submission.ts";
import { checkSize, RETRIES, type Single, singleOf } from "./single.ts";
import { SingleRun, type SingleRunDeps } from "./single-run.ts";
import { optionsOf, type ResolvedSubmission, type Submission } from "./submission.ts";
import { cutSubmission, type RunToSubmit, submitRun } from "./submit-run.ts";
import { serverRecordsOf, sourceOf } from "./submitted-records.ts";

/** The options of a producer within labelmill. */
export type OpenOptions = Omit<ResolvedProducerOptions, "redisUrl" | "s3"> & {
  /** The settings, or a client that the caller closes. */
  s3?: S3Settings | S3 | undefined;
  /** Models to which items can be submitted while no worker serves them. */
  declared?: readonly DeclaredModel[];
};

/** The producer of one Redis server. Its methods beyond {@link Producer} are for the server. */
export class RedisProducer implements Producer {
  readonly #options: OpenOptions;
  readonly #where: string;
  readonly #redis: Redis;
  readonly #channels: Channels;
  readonly #closing = new AbortController();
  readonly #s3: S3;
  readonly #models: ServedModels;
  readonly #ends: SingleEnds;
  readonly #room: RedisRoom;
  readonly #plans: PlanQueue;
  readonly #queues = new Map<string, Queue>();
  /** The ends of the runs that are still being planned. */
  readonly #running = new Set<Promise<unknown>>();
  readonly #close: () => void;
  /** How often the connection was lost. */
  #losses = 0;

  /** @param close ends the connections */
  constructor(
    options: OpenOptions,
    address: RedisAddress,
    { redis, channels, s3, close }: { redis: Redis; channels: Channels; s3: S3; close: () => void },
  ) {
    this.#options = options;
    this.#where = describeAddress(address);
    this.#redis = redis;
    this.#channels = channels;
    this.#close = close;
    this.#s3 = s3;
    redis.on("close", () => {
      this.#losses += 1;
    });
    this.#models = new ServedModels(redis, options.declared);
    this.#ends = new SingleEnds(redis);
    this.#plans = new PlanQueue(redis, RETRIES);
    this.#room = new RedisRoom(redis, this.#options.fullMs, () => {});
  }

  /** The connection for commands. It fails them while it is closed. */
  get redis(): Redis {
    return this.#redis;
  }

  get channels(): Channels {
    return this.#channels;
  }

  /** The URI of the output, which ends in `/`. */
  get output(): string {
    return asFolder(this.#options.output);
  }

  submit(submission: Submission): Promise<Run> {
    return this.#guard(() => this.#submit(submission));
  }

  /** A model by its name, and its number of labels. @throws LabelmillError as `submit` */
  find(model: string): Promise<{ pin: ModelPin; labels: number }> {
    return this.#guard(() => this.#models.find(model));
  }

  /**
   * The single of a submission, which is not queued yet.
   * @throws LabelmillError as `submit`; USAGE also for more than one slice
   */
  prepare(submission: ServerSubmission): Promise<Single> {
    return this.#guard(async () => {
      const { run = newRunId(), output = this.output, results, ...options } = serverOptionsOf(submission);
      const { pin, topK } = await this.#modelOf(options);
      const items = serverRecordsOf(submission);
      checkSize(items);
      return singleOf(items, { run, output: asFolder(output), pin, ...options, topK, results });
    });
  }

  /** Queues a single, and receives its end. @throws LabelmillError as `submit` */
  start(single: Single): Promise<SingleRun> {
    return this.#guard(() => SingleRun.start(this.#depsOf(single), this.#closing.signal));
  }

  /** Receives the end of a single that was queued, or may have ended. Nothing is sent until a caller waits. */
  watch(single: Single): SingleRun {
    return SingleRun.watch(this.#depsOf(single), this.#closing.signal);
  }

  /** Queues a single. One that is queued already stays as it is. @throws LabelmillError as `submit` */
  async enqueue(single: Single): Promise<void> {
    await this.#guard(() => SingleRun.enqueue(this.#depsOf(single), this.#closing.signal));
  }

  /** Queues the planning of a run whose `_run.json` is in its output. @throws LabelmillError as `submit` */
  async enqueuePlan(run: string, output: string): Promise<void> {
    await this.#guard(() => this.#room.take(() => this.#plans.add(run, output), this.#closing.signal));
  }

  /** The end of a single, by Redis or by its part. Undefined if it has not ended. @throws LabelmillError as `submit`, STORE_FAILED */
  endOf({ job }: Single): Promise<SingleEnd | undefined> {
    return this.#guard(async () => {
      const end = await this.#ends.get(job.run);
      if (end) return end;
      const part = await getIfExists(await this.openToRead(job.output), job.key);
      return part && partEnd(job, part);
    });
  }

  async subscribe(listener: (event: LabelEvent) => void): Promise<() => void> {
    this.#closing.signal.throwIfAborted();
    const receive = (text: string) => {
      const event = parseEvent(text);
      if (event) listener(event);
    };
    // Only a lost connection rejects.
    return this.#channels.listen(FEED_CHANNEL, receive).catch((error: unknown) => {
      throw this.#lost("subscribe", error);
    });
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new LabelmillError("ABORTED", "the producer was closed"));
    await Promise.allSettled(this.#running);
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
    await this.#plans.close();
    this.#close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Does work over the connection. @throws LabelmillError REDIS_UNREACHABLE if the connection is lost meanwhile */
  async #guard<T>(work: () => Promise<T>): Promise<T> {
    this.#closing.signal.throwIfAborted();
    const before = this.#losses;
    try {
      return await work();
    } catch (error) {
      if (error instanceof z.ZodError) throw wrongUse("submit", error);
      if (error instanceof LabelmillError || (before === this.#losses && (await this.#isConnected()))) throw error;
      // A lost connection rejects in a microtask. A caller that submits again in a loop would keep the event loop from reconnecting.
      await setImmediate();
      throw this.#lost("submit", error);
    }
  }

  #lost(call: string, cause: unknown): LabelmillError {
    return new LabelmillError("REDIS_UNREACHABLE", `lost Redis at ${this.#where}: ${call} again when it is back`, {
      cause,
    });
  }

  async #submit(submission: Submission): Promise<Run> {
    const options = optionsOf(submission);
    const { pin, topK } = await this.#modelOf(options);
    const source = sourceOf(submission);
    const slices = cutSubmission(source, this.#options.sliceItems);
    const first = await slices.next();
    const second = await slices.next();
    const run = newRunId();
    if (!second.done) return this.#submitRun({ run, output: `${this.output}${run}/`, source, pin, ...options, topK });
    const { items } = first.value as Slice & { items: object };
    const single = singleOf(items, { run, output: this.output, pin, ...options, topK });
    return SingleRun.start(this.#depsOf(single), this.#closing.signal);
  }

  /** The model of a submission, and the number of labels of its rows. */
  async #modelOf({ model, pin, topK }: ResolvedSubmission): Promise<{ pin: ModelPin; topK: number }> {
    if (pin) return { pin, topK };
    const found = await this.#models.find(model);
    return { pin: found.pin, topK: Math.min(topK, found.labels) };
  }

  async #submitRun(run: RunToSubmit): Promise<PlannedRun> {
    const deps = { redis: this.#redis, channels: this.#channels, s3: this.#s3, room: this.#room };
    const { sliceItems } = this.#options;
    const before = this.#losses;
    const asKnown = (error: unknown) =>
      error instanceof LabelmillError || before === this.#losses ? error : this.#lost("submit", error);
    const { planned, ended } = await submitRun(run, { ...deps, sliceItems, asKnown }, this.#closing.signal);
    this.#running.add(ended);
    ended.catch(() => {}).finally(() => this.#running.delete(ended));
    return planned;
  }

  /** Pings the server: the client may not have noticed a lost connection yet. */
  #isConnected(): Promise<boolean> {
    return this.#redis.ping().then(
      () => true,
      () => false,
    );
  }

  #depsOf(single: Single): SingleRunDeps {
    return {
      single,
      queue: this.#queue(single.job.model, single.lane),
      room: this.#room,
      channels: this.#channels,
      ends: this.#ends,
      openToRead: (uri) => this.openToRead(uri),
      lost: (cause) => this.#lost("wait", cause),
    };
  }

  openToRead(uri: string): Promise<ReadableStore> {
    return openToRead(uri, this.#s3);
  }

  #queue(model: { id: string; digest: string }, lane: Lane): Queue {
    const name = queueName(model, lane);
    const queue = this.#queues.get(name) ?? openQueue(this.#redis, name);
    this.#queues.set(name, queue);
    return queue;
  }
}

/**
 * Opens a producer for a part of labelmill itself: also over the unix socket of an embedded server, and with declared models.
 * @throws LabelmillError as `createProducer`
 */
export async function openProducer(address: RedisAddress, options: OpenOptions): Promise<RedisProducer> {
  // Before the connections: it refuses an invalid endpoint.
  const s3 = options.s3 instanceof S3 ? options.s3 : new S3(options.s3);
  const redis = await openRedis(address, "producer");
  try {
    const subscriber = await openRedis(address, "producer");
    const close = () => {
      if (s3 !== options.s3) s3.close();
      redis.disconnect();
      subscriber.disconnect();
    };
    return new RedisProducer(options, address, { redis, channels: new Channels(subscriber), s3, close });
  } catch (error) {
    redis.disconnect();
    throw error;
  }
}

/** An argument that does not match the types, which JavaScript does not check. */
export function wrongUse(call: string, error: z.ZodError): LabelmillError {
  const issue = error.issues[0]!;
  return new LabelmillError("USAGE", `${call}: ${issue.path.join(".") || "options"}: ${issue.message}`, {
    cause: error,
  });
}

function newRunId(): string {
  return randomBytes(8).toString("hex");
}

/** The URI of a store with a `/` at its end. */
function asFolder(uri: string): string {
  return `${uri.replace(/\/$/, "")}/`;
}
