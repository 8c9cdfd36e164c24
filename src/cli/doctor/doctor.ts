import { join } from "node:path";
import { BUILT_IN, BUILT_IN_DIR } from "../../models/built-in.ts";
import { type ModelSettings, resolveModel } from "../../models/resolve.ts";
import type { LabelWorld } from "../context.ts";
import { EXIT } from "../exit.ts";
import { PullBar } from "../models/pull-bar.ts";
import { openModels } from "../models/settings.ts";
import { s3Of } from "../s3.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type CheckResult, type CheckState, note, runCheck } from "./check.ts";
import { checkGpus } from "./check-gpu.ts";
import { checkCpu, checkCuda, checkModel } from "./check-inference.ts";
import { checkNode, neededNode } from "./check-node.ts";
import { checkOwnRedis, checkRedisServer } from "./check-redis.ts";
import { checkStore } from "./check-store.ts";

/** A server may take its time for the first object of a bucket. S3's own words for silence come before a check's. */
const STORE_MS = 30_000;
const S3_LIMITS = { tries: 2, connectMs: 4_000, silentMs: 12_000 };
/** CUDA's libraries are gigabytes, to be read from a disk. */
const CUDA_MS = 70_000;
const NAME_WIDTH = 21;
const STYLES = { ok: "green", wrong: "red", note: "yellow" } as const satisfies Record<CheckState, string>;

/** `labelmill doctor`: a line a check, as each is made. @returns the exit code: 1 if anything is wrong */
export function doctor(out: string | undefined, world: LabelWorld, modelsDir = BUILT_IN_DIR): Promise<number> {
  return tellChecks(examine(out, world, modelsDir), world.terminal);
}

/**
 * `labelmill doctor --gpu`: the same of all that GPUs need, and of models on each of them.
 * @param names none: the built-in models
 */
export async function doctorGpu(
  names: readonly string[] | undefined,
  { config, terminal }: LabelWorld,
  signal: AbortSignal,
): Promise<number> {
  const settings: ModelSettings = { ...(await openModels(config)), device: "cuda" };
  const models = (names ?? Object.values(BUILT_IN)).map(
    (name) => () => resolveModel(name, settings, new PullBar(terminal), signal),
  );
  return tellChecks(checkGpus(models), terminal);
}

/** @returns the exit code: 1 if anything is wrong */
async function tellChecks(found: AsyncIterable<CheckResult>, terminal: Terminal): Promise<number> {
  const checks: CheckResult[] = [];
  for await (const check of found) {
    checks.push(check);
    show(check, terminal);
  }
  const count = checks.filter(({ state }) => state === "wrong").length;
  if (terminal.json) terminal.printJson({ ok: count === 0, checks });
  else terminal.print(count === 0 ? "Nothing is wrong" : `${count} of ${checks.length} checks found something wrong`);
  return count === 0 ? EXIT.labeled : EXIT.failed;
}

/** One after the other, so that none slows another down or is blamed for its end. */
async function* examine(
  out: string | undefined,
  { config, environment }: LabelWorld,
  modelsDir: string,
): AsyncGenerator<CheckResult> {
  yield runCheck("Node", () => checkNode(process.versions.node, neededNode()));
  const { redisUrl, cacheDir } = config;
  if (redisUrl) yield* checkRedisServer({ url: redisUrl });
  else yield runCheck("Redis", () => checkOwnRedis({ cacheDir, path: environment.path }));

  await using open = new AsyncDisposableStack();
  const tryStore = () => {
    if (out === undefined) return note("not tried", "name a folder or an s3:// prefix with --out");
    const s3 = s3Of(config, S3_LIMITS);
    open.defer(() => s3.close());
    return checkStore(out, s3);
  };
  yield runCheck("store", tryStore, STORE_MS);

  const modelDir = join(modelsDir, BUILT_IN.images);
  yield runCheck("provider cpu", () => checkCpu(modelDir));
  yield runCheck("provider cuda", () => checkCuda(modelDir), CUDA_MS);
  for (const name of Object.values(BUILT_IN)) yield runCheck(`model ${name}`, () => checkModel(join(modelsDir, name)));
}

function show({ name, state, found, mend }: CheckResult, terminal: Terminal): void {
  const word = terminal.style(STYLES[state], state.padEnd(5));
  const advice = mend === undefined ? "" : `. To ${state === "wrong" ? "mend" : "change"} it, ${mend}`;
  terminal.print(`${word}  ${name.padEnd(NAME_WIDTH)}  ${found}${advice}`);
}
