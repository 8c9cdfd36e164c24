import { LabelmillError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { RunIndex } from "../../runs/run-index.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { RedisProducer } from "../client/redis-producer.ts";
import { Accepter } from "./accepter.ts";
import { Journal } from "./journal.ts";
import { JournalKeeper } from "./journal-keeper.ts";

export type AccepterOptions = {
  producer: RedisProducer;
  index: RunIndex;
  s3: S3 | undefined;
  log: Logger;
  /** What keeps accepted submissions. */
  accept: "store" | "redis";
};

/**
 * Opens the accepter of a server, and begins to replay what earlier servers accepted.
 * @throws LabelmillError STORE_FAILED
 */
export async function openAccepter({ producer, index, s3, log, accept }: AccepterOptions): Promise<Accepter> {
  if (accept === "redis") throw new LabelmillError("CONFIG_INVALID", "expected --accept store; got redis");
  const journal = await Journal.open(producer.output, s3);
  const keeper = await JournalKeeper.open({ producer, journal, index, log });
  const accepter = new Accepter({ producer, index, keeper, log });
  accepter.replay(new AbortController().signal).catch((error: unknown) => {
    log.warn({ err: error }, "accepted submissions not replayed yet");
  });
  return accepter;
}
