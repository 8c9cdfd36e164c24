import type { Redis } from "ioredis";
import { z } from "zod";
import { DigestSchema, RunIdSchema } from "../schemas/job.ts";
import { KEY_PREFIX, LANES } from "../schemas/names.ts";

const DAY_SECONDS = 24 * 3600;
/** Planned runs are few. Singles may be thousands a second, and their ends are kept for 24 h. */
const KEPT_SECONDS = { run: 30 * DAY_SECONDS, single: 2 * DAY_SECONDS };
/** The most entries of a list. A run beyond it is still found by its id. */
const MAX_LISTED = 100_000;

const IndexedRunSchema = z.object({
  run: RunIdSchema,
  /** The id of the API key that made the run, `rule:NAME` for a bucket rule, `-` on a server without keys. */
  owner: z.string(),
  kind: z.enum(["single", "run"]),
  /** The URI of the store that has its rows. */
  output: z.string(),
  /** The key of the part of a single. */
  key: z.string().optional(),
  model: z.object({ id: z.string(), digest: DigestSchema }),
  lane: z.enum(LANES),
  submittedAt: z.iso.datetime(),
});
/** What the server knows of a run that it made. */
export type IndexedRun = z.infer<typeof IndexedRunSchema>;

/** The runs that servers made, in Redis: singles for 2 days, planned runs for 30 days. An empty Redis has none until they are replayed. */
export class RunIndex {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Setting a run again changes nothing. */
  async set(run: string, about: Omit<IndexedRun, "run">): Promise<void> {
    const { kind } = about;
    const isNew = await this.#redis.set(runKey(run), JSON.stringify({ run, ...about }), "EX", KEPT_SECONDS[kind], "NX");
    // A submission that is repeated later, or by another server at a time, has another time: the list keeps the first one.
    const { owner, submittedAt } = (isNew === null && (await this.get(run))) || about;
    const commands = this.#redis.multi();
    for (const list of [ALL_KEY, ownerKey(owner)]) {
      commands
        .zadd(list, 0, memberOf(submittedAt, run))
        .zremrangebylex(list, "-", `(${oldest()}`)
        .zremrangebyrank(list, 0, -MAX_LISTED - 1)
        .expire(list, KEPT_SECONDS.run);
    }
    const replies = await commands.exec();
    for (const [error] of replies ?? []) if (error) throw error;
  }

  /** @returns undefined if no server made the run, or too long ago, or Redis lost it */
  async get(run: string): Promise<IndexedRun | undefined> {
    return parse(await this.#redis.get(runKey(run)));
  }

  /**
   * The runs of an owner, or of all, the newest first.
   * @param cursor the `cursor` of the page before. An invalid one gives no runs
   * @param limit runs in the page, at least 1
   * @returns `cursor`: undefined on the last page
   */
  async list({ owner, cursor, limit }: { owner?: string | undefined; cursor?: string | undefined; limit: number }) {
    const list = owner === undefined ? ALL_KEY : ownerKey(owner);
    const from = cursor === undefined ? "+" : `(${cursor}`;
    const members = await this.#redis.zrange(list, from, "-", "BYLEX", "REV", "LIMIT", 0, limit);
    const found = members.length === 0 ? [] : await this.#redis.mget(members.map((member) => runKey(runOf(member))));
    return {
      runs: found.flatMap((text) => parse(text) ?? []),
      ...(members.length === limit ? { cursor: members.at(-1)! } : {}),
    };
  }
}

const ALL_KEY = `${KEY_PREFIX}:index:all`;

function ownerKey(owner: string): string {
  return `${KEY_PREFIX}:index:of:${owner}`;
}

function runKey(run: string): string {
  return `${KEY_PREFIX}:index:run:${run}`;
}

/** Members have one score, so that they are sorted by their text: by time, then by id. */
function memberOf(submittedAt: string, run: string): string {
  return `${new Date(submittedAt).toISOString()}-${run}`;
}

function runOf(member: string): string {
  return member.slice(-16);
}

function oldest(): string {
  return new Date(Date.now() - KEPT_SECONDS.run * 1000).toISOString();
}

function parse(text: string | null): IndexedRun | undefined {
  if (text === null) return undefined;
  const parsed = IndexedRunSchema.safeParse(JSON.parse(text));
  return parsed.success ? parsed.data : undefined;
}
