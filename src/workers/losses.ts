import type { Redis } from "ioredis";
import { KEY_PREFIX } from "../schemas/names.ts";

export type SliceRef = { run: string; slice: number };

/** How often a slice lost its worker, and on which of its items a worker died while it ran them one by one. */
export type Losses = { times: number; crashedOn: ReadonlySet<number> };

/**
 * Evidence about slices whose worker's process died, so that an item that kills it is found. It must outlive the process: it
 * is kept in Redis, or beside the output where Redis dies with the command.
 */
export interface LossRecord {
  /**
   * @param stalls how often the queue saw the job lose its worker
   * @param tries how often it failed
   */
  take(slice: SliceRef, stalls: number, tries: number): Promise<Losses>;
  /** Saved before item `index` is run alone: if the process dies now, that item did it. */
  at(slice: SliceRef, index: number): Promise<void>;
  /** The slice goes back unfinished, with its worker alive and well. */
  giveBack(slice: SliceRef): Promise<void>;
  /** The device, or its thread, was lost with items of the slice: as if the process had died on them. */
  lost(slice: SliceRef): Promise<void>;
  end(slice: SliceRef): Promise<void>;
}

/** `lost`: how often a device was. */
type Evidence = { at: number | null; crashedOn: number[]; lost?: number };

/** The queue counts the workers lost; one hash field a slice holds the rest, only while a slice is under suspicion. */
export class RedisLossRecord implements LossRecord {
  readonly #redis: Redis;
  /** Slices taken here of which something may be noted: most slices never lose a worker, and cost no round trip. */
  readonly #lost = new Set<string>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async take(ref: SliceRef, stalls: number, tries: number): Promise<Losses> {
    if (stalls === 0 && tries === 0) return { times: 0, crashedOn: new Set() };
    this.#lost.add(nameOf(ref));
    const evidence = await this.#read(ref);
    if (evidence.at !== null) {
      evidence.crashedOn.push(evidence.at);
      await this.#write(ref, { ...evidence, at: null });
    }
    return { times: stalls + (evidence.lost ?? 0), crashedOn: new Set(evidence.crashedOn) };
  }

  async at(ref: SliceRef, index: number): Promise<void> {
    await this.#write(ref, { ...(await this.#read(ref)), at: index });
  }

  async giveBack(ref: SliceRef): Promise<void> {
    if (!this.#lost.delete(nameOf(ref))) return;
    const evidence = await this.#read(ref);
    if (evidence.at !== null) await this.#write(ref, { ...evidence, at: null });
  }

  async lost(ref: SliceRef): Promise<void> {
    const evidence = await this.#read(ref);
    await this.#write(ref, { ...evidence, lost: (evidence.lost ?? 0) + 1 });
  }

  async end(ref: SliceRef): Promise<void> {
    if (this.#lost.delete(nameOf(ref))) await this.#redis.hdel(key(ref.run), String(ref.slice));
  }

  async #read({ run, slice }: SliceRef): Promise<Evidence> {
    const found = await this.#redis.hget(key(run), String(slice));
    return found ? JSON.parse(found) : { at: null, crashedOn: [] };
  }

  async #write({ run, slice }: SliceRef, evidence: Evidence): Promise<void> {
    await this.#redis.hset(key(run), String(slice), JSON.stringify(evidence));
  }
}

function nameOf({ run, slice }: SliceRef): string {
  return `${run}-${slice}`;
}

function key(run: string): string {
  return `${KEY_PREFIX}:run:${run}:losses`;
}
