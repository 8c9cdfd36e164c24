import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { Accepter } from "../../../src/producers/accept/accepter.ts";
import { AofKeeper } from "../../../src/producers/accept/aof-keeper.ts";
import { Journal } from "../../../src/producers/accept/journal.ts";
import { JournalKeeper } from "../../../src/producers/accept/journal-keeper.ts";
import type { Keeper } from "../../../src/producers/accept/keeper.ts";
import { openProducer, type RedisProducer } from "../../../src/producers/client/redis-producer.ts";
import type { DeclaredModel } from "../../../src/producers/client/served-models.ts";
import { AofConfirmation } from "../../../src/redis/aof.ts";
import type { RedisAddress } from "../../../src/redis/connect.ts";
import { RunIndex } from "../../../src/runs/run-index.ts";

export const MODEL = "tiny-sentiment";

/** What a server accepts with, without the server. */
export type Accepting = AsyncDisposable & {
  accepter: Accepter;
  producer: RedisProducer;
  index: RunIndex;
  journal: Journal;
};

export type AcceptingOptions = {
  accept?: "store" | "redis";
  /** Wraps the parts that do the steps, as a test that kills the process between them does. */
  around?: <Part extends Journal | RedisProducer | RunIndex>(part: Part) => Part;
};

/** Opens it for an output. `tiny-sentiment` is declared. */
export async function openAccepting(
  redis: RedisAddress,
  output: string,
  { accept = "store", around = (part) => part }: AcceptingOptions = {},
): Promise<Accepting> {
  const opened = new AsyncDisposableStack();
  const options = { output, sliceItems: 500, fullMs: 1_000, declared: [await declared()] };
  const opener = opened.use(await openProducer(redis, options));
  const producer = around(opener);
  const index = around(new RunIndex(opener.redis));
  const journal = around(await Journal.open(opener.output, undefined));
  const log = createLogger(process.env.LABELMILL_TEST_LOG ?? "silent", false);
  const keeper: Keeper =
    accept === "store"
      ? await JournalKeeper.open({ producer, journal, index, log })
      : new AofKeeper(await AofConfirmation.open(redis, "{labelmill}:accepted:confirmed"));
  opened.defer(() => keeper.close());
  const accepter = new Accepter({ producer, index, keeper, log, checkTargets: () => {} });
  return { accepter, producer, index, journal, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

export async function declared(): Promise<DeclaredModel> {
  const { id, revision, digest, dtype, task, labels } = await loadBuiltIn(MODEL);
  return { name: MODEL, pin: { id, revision, digest, dtype, task }, labels: labels.length, labelNames: labels };
}

export async function collected<T>(all: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of all) found.push(each);
  return found;
}
