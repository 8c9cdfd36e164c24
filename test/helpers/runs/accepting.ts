import { createLogger } from "../../../src/logger.ts";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { Accepter } from "../../../src/producers/accept/accepter.ts";
import { Journal } from "../../../src/producers/accept/journal.ts";
import { JournalKeeper } from "../../../src/producers/accept/journal-keeper.ts";
import { openProducer, type RedisProducer } from "../../../src/producers/client/redis-producer.ts";
import type { DeclaredModel } from "../../../src/producers/client/served-models.ts";
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

/** Opens it for an output. `tiny-sentiment` is declared. */
export async function openAccepting(redis: RedisAddress, output: string): Promise<Accepting> {
  const opened = new AsyncDisposableStack();
  const options = { output, sliceItems: 500, fullMs: 1_000, declared: [await declared()] };
  const producer = opened.use(await openProducer(redis, options));
  const index = new RunIndex(producer.redis);
  const journal = await Journal.open(producer.output, undefined);
  const log = createLogger(process.env.LABELMILL_TEST_LOG ?? "silent", false);
  const keeper = await JournalKeeper.open({ producer, journal, index, log });
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
