import type { Logger } from "../../logger.ts";
import { AofConfirmation } from "../../redis/aof.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import type { RunIndex } from "../../runs/run-index.ts";
import type { ResultTarget } from "../../schemas/enrichment/target.ts";
import { KEY_PREFIX } from "../../schemas/names.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { RedisProducer } from "../client/redis-producer.ts";
import { Accepter } from "./accepter.ts";
import { AofKeeper } from "./aof-keeper.ts";
import { Journal } from "./journal.ts";
import { JournalKeeper } from "./journal-keeper.ts";
import type { Keeper } from "./keeper.ts";

/** The key of the writes that confirm earlier ones. */
const CONFIRMED_KEY = `${KEY_PREFIX}:accepted:confirmed`;

export type AccepterOptions = {
  /** Where the Redis of the producer listens. */
  redis: RedisAddress;
  producer: RedisProducer;
  index: RunIndex;
  s3: S3 | undefined;
  log: Logger;
  /** Throws for a target that this server cannot deliver to. */
  checkTargets(targets: readonly ResultTarget[]): void;
  /** What keeps accepted submissions. */
  accept: "store" | "redis";
};

/**
 * Opens the accepter of a server, and begins to replay what earlier servers accepted.
 * @throws LabelmillError STORE_FAILED; REDIS_UNFIT if `accept` is `redis` and Redis cannot keep what is accepted
 */
export async function openAccepter(options: AccepterOptions): Promise<Accepter> {
  const { redis, producer, index, s3, log, accept, checkTargets } = options;
  const keeper = accept === "redis" ? await openAof(redis) : await openJournal({ producer, index, s3, log });
  const accepter = new Accepter({ producer, index, keeper, log, checkTargets });
  accepter.replay(new AbortController().signal).catch((error: unknown) => {
    log.warn({ err: error }, "accepted submissions not replayed yet");
  });
  return accepter;
}

async function openJournal({
  s3,
  ...deps
}: Pick<AccepterOptions, "producer" | "index" | "s3" | "log">): Promise<Keeper> {
  return JournalKeeper.open({ ...deps, journal: await Journal.open(deps.producer.output, s3) });
}

async function openAof(redis: RedisAddress): Promise<Keeper> {
  return new AofKeeper(await AofConfirmation.open(redis, CONFIRMED_KEY));
}
