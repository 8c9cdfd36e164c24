import type { RunRequest } from "../../producers/runs/request.ts";
import { submitRun as submit } from "../../producers/runs/submit-run.ts";
import type { RedisAddress } from "../../redis/connect.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { PlanQueue } from "../../runs/queues/plan-queue.ts";
import { isS3 } from "../../storage/s3/uri.ts";
import { type CommandContext, lastingRedis } from "../context.ts";
import { EXIT } from "../exit.ts";
import { prepareDeps, withOut } from "../label/prepare-run.ts";
import { s3Of } from "../s3.ts";
import { showPlace } from "../terminal/report.ts";

/**
 * `labelmill run submit`: writes `_run.json` and exits; a worker plans the run.
 * @throws LabelmillError as `label` before it queues anything; USAGE for standard input
 */
export async function submitRun(request: RunRequest, context: CommandContext, signal: AbortSignal): Promise<number> {
  const { config, terminal } = context;
  const address = lastingRedis(config);
  await using open = new AsyncDisposableStack();
  context.interrupts?.handle({ describe: () => "stopping: nothing is submitted" });
  const s3 = s3Of(config);
  open.defer(() => s3.close());
  const deps = {
    ...(await prepareDeps(request, context, s3, open, signal)),
    queuePlan: (run: string, output: string) => queuePlan(address, config, run, output),
  };
  const submitted = await submit(withOut(request), deps, signal);
  const { run, out, state } = submitted;
  const place = showPlace(out);
  if (state !== "planning") terminal.say(`${place} is finished already (run ${run}): nothing to do`);
  else terminal.say(`Run ${run} is submitted, results to ${isS3(out) ? out : place}. See: labelmill run watch ${run}`);
  // Only the id on standard output, for scripts.
  if (terminal.json) terminal.printJson(submitted);
  else terminal.print(run);
  return EXIT.ok;
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
