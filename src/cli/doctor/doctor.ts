import { join } from "node:path";
import { BUILT_IN, BUILT_IN_DIR } from "../../models/built-in.ts";
import { type ModelSettings, resolveModel } from "../../models/resolve.ts";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit.ts";
import { openModels } from "../models/open-models.ts";
import { PullBar } from "../models/pull-bar.ts";
import { s3Of } from "../s3.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { type CheckResult, type CheckState, note, runCheck } from "./check.ts";
import { checkGpus } from "./check-gpu.ts";
import { checkCpu, checkCuda, checkModel } from "./check-inference.ts";
import { checkNode, neededNode } from "./check-node.ts";
import { checkOwnRedis, checkRedisServer } from "./check-redis.ts";
import { checkStore } from "./check-store.ts";

/** A server may need long for the first object of a bucket. The S3 time limits are shorter, so that their message is reported. */
const STORE_MS = 30_000;
const S3_LIMITS = { tries: 2, connectMs: 4_000, silentMs: 12_000 };
/** The CUDA libraries are gigabytes, and may have to be read from a disk. */
const CUDA_MS = 70_000;
const NAME_WIDTH = 21;
const STYLES = { ok: "green", wrong: "red", note: "yellow" } as const satisfies Record<CheckState, string>;

/** `labelmill doctor`: prints a line after each check. @returns the exit code: 1 if anything is wrong */
export function doctor(out: string | undefined, context: CommandContext, modelsDir = BUILT_IN_DIR): Promise<number> {
  return reportChecks(allChecks(out, context, modelsDir), context.terminal);
}

/**
 * `labelmill doctor --gpu`: checks what GPUs need, and models on each GPU.
 * @param names default: the built-in models
 */
export async function doctorGpu(
  names: readonly string[] | undefined,
  { config, terminal }: CommandContext,
  signal: AbortSignal,
): Promise<number> {
  const settings: ModelSettings = { ...(await openModels(config)), device: "cuda" };
  const models = (names ?? Object.values(BUILT_IN)).map(
    (name) => () => resolveModel(name, settings, new PullBar(terminal), signal),
  );
  return reportChecks(checkGpus(models), terminal);
}

/** @returns the exit code: 1 if anything is wrong */
async function reportChecks(found: AsyncIterable<CheckResult>, terminal: Terminal): Promise<number> {
  const checks: CheckResult[] = [];
  for await (const check of found) {
    checks.push(check);
    show(check, terminal);
  }
  const count = checks.filter(({ state }) => state === "wrong").length;
  if (terminal.json) terminal.printJson({ ok: count === 0, checks: checks.map(jsonOf) });
  else terminal.print(count === 0 ? "Nothing is wrong" : `${count} of ${checks.length} checks found something wrong`);
  return count === 0 ? EXIT.ok : EXIT.failed;
}

/** Runs one check after the other, so that no check slows another down or ends the process during it. */
async function* allChecks(
  out: string | undefined,
  { config, environment }: CommandContext,
  modelsDir: string,
): AsyncGenerator<CheckResult> {
  yield runCheck("Node", () => checkNode(process.versions.node, neededNode()));
  const { redisUrl, cacheDir } = config;
  if (redisUrl) yield* checkRedisServer({ url: redisUrl });
  else yield runCheck("Redis", () => checkOwnRedis({ cacheDir, path: environment.path }));

  await using open = new AsyncDisposableStack();
  const tryStore = () => {
    if (out === undefined) return note("not checked", "give a folder or an s3:// prefix with --out");
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

/** What --json prints of a check. `mend` is the old name of `fix`, kept for one minor version. */
function jsonOf(check: CheckResult) {
  return check.fix === undefined ? check : { ...check, mend: check.fix };
}

function show({ name, state, found, fix }: CheckResult, terminal: Terminal): void {
  const word = terminal.style(STYLES[state], state.padEnd(5));
  const advice = fix === undefined ? "" : `. To ${state === "wrong" ? "fix" : "change"} it, ${fix}`;
  terminal.print(`${word}  ${name.padEnd(NAME_WIDTH)}  ${found}${advice}`);
}
