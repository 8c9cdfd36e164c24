import { LabelmillError } from "../../errors.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { PlanQueue } from "../../runs/queues/plan-queue.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { prepareRun } from "../label/prepare-run.ts";
import type { LabelRequest } from "../label/request.ts";
import { localPath } from "../local-path.ts";
import { isS3 } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";

/**
 * `labelmill run submit`: writes `_run.json` and exits; a worker plans the run.
 * @throws LabelmillError as `label` before it queues anything; USAGE for standard input
 */
export async function submitRun(request: LabelRequest, context: CommandContext, signal: AbortSignal): Promise<number> {
  const { config, terminal } = context;
  const address = lastingRedis(config);
  if (request.inputs.includes("-"))
    throw new LabelmillError("USAGE", "workers plan the run, and cannot read standard input (-): use labelmill label");
  await using open = new AsyncDisposableStack();
  context.interrupts?.handle({ describe: () => "stopping: nothing is submitted" });
  const { store, opened, inputs, claim } = await prepareRun(request, context, open, signal);
  signal.throwIfAborted();
  const local = inputs.find(({ input }) => input.uri.startsWith("file:"));
  if (local && !request.sharedFiles) throw localPath(local.input.uri, "put it on S3");
  await claim();
  const { run } = opened.runFile;
  const place = showPlace(store.uri);
  if (opened.kind === "finished") {
    terminal.say(`${place} is finished already (run ${run}): nothing to do`);
    return printSubmitted(context, {
      run,
      out: store.uri,
      state: opened.manifest.state,
      passedOver: opened.manifest.passedOver,
    });
  }
  await queuePlan(address, config, run, store.uri);
  terminal.say(
    `Run ${run} is submitted, results to ${isS3(store.uri) ? store.uri : place}. See: labelmill run watch ${run}`,
  );
  return printSubmitted(context, { run, out: store.uri, state: "planning", passedOver: opened.runFile.passedOver });
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

/** Prints only the id on standard output, for scripts. */
function printSubmitted(
  { terminal }: CommandContext,
  summary: { run: string; out: string; state: string; passedOver: PassedOverReport | undefined },
): number {
  if (terminal.json) terminal.printJson(summary);
  else terminal.print(summary.run);
  return EXIT.ok;
}
