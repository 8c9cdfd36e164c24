import { LabelmillError } from "../../errors.ts";
import { waitForRoom } from "../../events/backlog.ts";
import { QueueConsumer } from "../../events/sqs/consumer.ts";
import { SqsQueue } from "../../events/sqs/queue.ts";
import { WorkerRegistry } from "../../fleet/registry.ts";
import { describeAddress, type RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { openDeps } from "../../server/open-deps.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { s3Of } from "../s3.ts";
import { declareModels, readRegistered } from "../serve/declare-models.ts";
import { placesOf } from "../serve/places.ts";

export type ConsumeOptions = {
  models?: string[];
  out?: string;
  region?: string;
  endpoint?: string;
  visibility: number;
};

/**
 * `labelmill consume sqs`: labels the objects that the messages of a queue name, until `signal` aborts.
 * @returns the exit code after a normal end
 * @throws LabelmillError USAGE, CONFIG_INVALID for a rule, QUEUE_FAILED
 */
export async function consumeSqs(
  url: string,
  options: ConsumeOptions,
  context: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  const { config, terminal, log, interrupts } = context;
  const redis = lastingRedis(config);
  if (config.rules.length === 0)
    throw new LabelmillError(
      "CONFIG_INVALID",
      "expected rules in the file of --config, got an empty list; without rules, nothing is labeled",
    );
  const { output, state } = placesOf(options.out, config);
  await using open = new AsyncDisposableStack();
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const queue = await SqsQueue.open(url, options);
  open.defer(() => queue.close());
  const models = await declare(options, context, redis, signal);
  const deps = await openDeps({ config, log, redis, s3, output, state, models, stopping: signal }, open);
  const { backlog, events } = deps;
  const consumer = new QueueConsumer({
    queue,
    handle: async (body) => void (await events.receiveQueued(body)),
    room: (until) => waitForRoom(backlog, events.models, config.maxBacklogSeconds, until),
    ...{ log, visibilityS: options.visibility },
  });
  interrupts?.handle({
    describe: () =>
      `stopping: ${consumer.counts.accepted} messages accepted, ${consumer.counts.left} left in the queue`,
  });
  terminal.say(`Consuming ${new URL(url).pathname.slice(1)}, queueing to ${describeAddress(redis)}`);
  if (!queue.hasRedrive)
    terminal.say("The queue has no redrive policy: a message that cannot be read comes back until the queue drops it");
  await consumer.run(signal);
  return EXIT.ok;
}

/** The models of the options: the versions that workers serve, else those of the catalog. */
async function declare(
  { models }: ConsumeOptions,
  { config, terminal }: CommandContext,
  redis: RedisAddress,
  signal: AbortSignal,
) {
  const settings = await openModels(config);
  const registered = await withRedis(redis, (connection) => readRegistered(new WorkerRegistry(connection)));
  const names = models ?? Object.values(settings.catalog.defaults);
  return declareModels(names, registered, settings, new PullBar(terminal), signal);
}
