import { LabelmillError } from "../../errors.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { PlanQueue } from "../../runs/queues/plan-queue.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { LabelWorld } from "../context.ts";
import { lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { prepareRun } from "../label/prepare.ts";
import type { LabelRequest } from "../label/request.ts";
import { localPath } from "../remote.ts";
import { isS3 } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";

/**
 * `labelmill run submit`: makes the run's `_run.json` and leaves; a worker plans it.
 * @throws LabelmillError what `label` throws before it queues anything; USAGE for standard input
 */
export async function submitRun(request: LabelRequest, world: LabelWorld, signal: AbortSignal): Promise<number> {
  const { config, terminal } = world;
  const address = lastingRedis(config);
  if (request.inputs.includes("-"))
    throw new LabelmillError(
      "USAGE",
      "workers plan the run, and standard input (-) is not theirs: label it with labelmill label",
    );
  await using open = new AsyncDisposableStack();
  world.interrupts?.handle({ tell: () => "stopping: nothing is submitted" });
  const { store, opened, inputs, claim } = await prepareRun(request, world, open, signal);
  signal.throwIfAborted();
  const local = inputs.find(({ input }) => input.uri.startsWith("file:"));
  if (local && !request.sharedFiles) throw localPath(local.input.uri, "put it on S3");
  await claim();
  const { run } = opened.runFile;
  const place = showPlace(store.uri);
  if (opened.kind === "finished") {
    terminal.say(`${place} is finished already (run ${run}): nothing to do`);
    return told(world, { run, out: store.uri, state: opened.manifest.state, passedOver: opened.manifest.passedOver });
  }
  await queuePlan(address, config, run, store.uri);
  terminal.say(
    `Run ${run} is submitted, results to ${isS3(store.uri) ? store.uri : place}. See: labelmill run watch ${run}`,
  );
  return told(world, { run, out: store.uri, state: "planning", passedOver: opened.runFile.passedOver });
}

export async function queuePlan(
  address: RedisAddress,
  retries: ConstructorParameters<typeof PlanQueue>[1],
  run: string,
  output: string,
): Promise<void> {
  await withRedis(address, async (redis) => {
    const plans = new PlanQueue(redis, retries);
    await plans.add(run, output);
    await plans.close();
  });
}

/** The id alone on standard output, for scripts. */
function told(
  { terminal }: LabelWorld,
  summary: { run: string; out: string; state: string; passedOver: PassedOverReport | undefined },
): number {
  if (terminal.json) terminal.printJson(summary);
  else terminal.print(summary.run);
  return EXIT.labeled;
}
