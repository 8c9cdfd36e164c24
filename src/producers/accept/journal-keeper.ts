import { randomBytes } from "node:crypto";
import pLimit from "p-limit";
import { LabelmillError } from "../../errors.ts";
import type { Accepted } from "../../schemas/enrichment/accepted.ts";
import { ENDS_CHANNEL, KEY_PREFIX, STOPPED_CHANNEL } from "../../schemas/names.ts";
import type { Keeper, Replayed } from "./keeper.ts";
import { Replay, type ReplayDeps } from "./replay.ts";

/** The journal is compared with Redis this often: single jobs may be lost, and other servers may have died. */
const REPLAY_MS = 60_000;
/** How often the marker is read that shows whether Redis was emptied. */
const MARKER_MS = 5_000;
/** A connection that is back is often lost again at once. */
const SOON_AFTER_MS = 100;
/** Ends handled at a time: each removes an object. */
const ENDS_AT_ONCE = 16;

/** A random text. An emptied Redis has none, or that of another start. */
const MARKER_KEY = `${KEY_PREFIX}:accepted:marker`;

/**
 * Keeps accepted submissions by a journal in the store. A record is written before the submission is queued, and removed when the run has
 * ended. Several servers may share an output and a Redis without a lock: each step may be done twice, by any of them, because a job has the
 * id of its run and the first part of a run stays.
 */
export class JournalKeeper implements Keeper {
  readonly #deps: ReplayDeps;
  readonly #replay: Replay;
  readonly #ends = pLimit(ENDS_AT_ONCE);
  readonly #closing = new AbortController();
  readonly #stops: (() => void)[] = [];
  #marker: string | undefined;
  #soon: NodeJS.Timeout | undefined;
  /** The replay in progress, and the one that follows it. */
  #running: Promise<unknown> = Promise.resolve();
  #next: Promise<Replayed> | undefined;

  private constructor(deps: ReplayDeps) {
    this.#deps = deps;
    this.#replay = new Replay(deps);
  }

  /** Opens the keeper and starts its timers. The caller replays the journal at its start. */
  static async open(deps: ReplayDeps): Promise<JournalKeeper> {
    const keeper = new JournalKeeper(deps);
    const { channels, redis } = deps.producer;
    for (const channel of [ENDS_CHANNEL, STOPPED_CHANNEL])
      keeper.#stops.push(await channels.listen(channel, (run) => void keeper.#noteEnd(run)));
    await keeper.#readMarker();
    const soon = () => keeper.#replaySoon();
    redis.on("ready", soon);
    const timers = [setInterval(soon, REPLAY_MS), setInterval(() => void keeper.#watchMarker(), MARKER_MS)];
    keeper.#stops.push(() => {
      redis.off("ready", soon);
      for (const timer of timers) clearInterval(timer);
      clearTimeout(keeper.#soon);
    });
    return keeper;
  }

  async keep(record: Accepted, enqueue: () => Promise<void>): Promise<void> {
    const { journal, producer, log } = this.#deps;
    // Without Redis the submission would only wait in the journal: the caller learns of the outage instead.
    if (producer.redis.status !== "ready")
      throw new LabelmillError("REDIS_UNREACHABLE", "the connection to Redis is lost: submit again when it is back");
    const isFirst = await journal.write(record);
    this.#replay.add(record);
    try {
      await enqueue();
    } catch (error) {
      // Redis refused the job. A record of an earlier submission of the run stays.
      if (isFirst && error instanceof LabelmillError && error.code === "REDIS_FULL") {
        await journal.remove(record.run);
        this.#replay.forget(record.run);
        throw error;
      }
      // The record is safe, so the submission is accepted.
      log.warn({ run: record.run, err: error }, "accepted submission not queued yet");
      this.#replaySoon();
    }
  }

  async keepQueued(record: Accepted): Promise<void> {
    await this.#deps.journal.write(record);
    this.#replay.add(record);
    // It may have ended before.
    await this.#noteEnd(record.run);
  }

  settleDelivery(run: string, deliveryId: string): Promise<void> {
    return this.#replay.settleDelivery(run, deliveryId);
  }

  replay(signal: AbortSignal): Promise<Replayed> {
    this.#next ??= this.#running.then(() => {
      this.#next = undefined;
      const replayed = this.#replay.all(AbortSignal.any([signal, this.#closing.signal]));
      this.#running = replayed.catch(() => {});
      return replayed;
    });
    return this.#next;
  }

  async close(): Promise<void> {
    this.#closing.abort(new LabelmillError("ABORTED", "the server stops"));
    for (const stop of this.#stops) stop();
    await this.#next?.catch(() => {});
    await this.#running;
    await this.#replay.close();
  }

  #replaySoon(): void {
    if (this.#closing.signal.aborted) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.replay(this.#closing.signal).catch((error: unknown) => this.#postponed(error));
    }, SOON_AFTER_MS);
  }

  async #noteEnd(run: string): Promise<void> {
    await this.#ends(() => this.#replay.noteEnd(run)).catch((error: unknown) => this.#postponed(error));
  }

  /** The next replay does what failed: on the timer, or when Redis is back. */
  #postponed(error: unknown): void {
    if (!this.#closing.signal.aborted)
      this.#deps.log.warn({ err: error }, "accepted submissions not compared with Redis: trying again later");
  }

  /** Notices a Redis that was emptied while the connection stayed. */
  async #watchMarker(): Promise<void> {
    try {
      const before = this.#marker;
      await this.#readMarker();
      if (this.#marker !== before) this.#replaySoon();
    } catch {
      // The connection is lost. When it is back, the journal is replayed anyway.
    }
  }

  async #readMarker(): Promise<void> {
    const { redis } = this.#deps.producer;
    await redis.set(MARKER_KEY, randomBytes(8).toString("hex"), "NX");
    this.#marker = (await redis.get(MARKER_KEY)) ?? undefined;
  }
}
