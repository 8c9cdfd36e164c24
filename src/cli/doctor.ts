import { join } from "node:path";
import { builtInModels } from "../inference/model.ts";
import { type CheckResult, type CheckState, note, runCheck, wrong } from "./check.ts";
import { checkCpu, checkCuda, checkModel, INSTALL_AGAIN } from "./check-inference.ts";
import { checkNode, neededNode } from "./check-node.ts";
import { checkOwnRedis, checkRedisServer } from "./check-redis.ts";
import { checkStore } from "./check-store.ts";
import { EXIT, type LabelWorld } from "./label.ts";
import { BUILT_IN_DIR, DEFAULT_MODELS } from "./model-choice.ts";
import { s3Of } from "./s3.ts";
import type { Terminal } from "./terminal.ts";

/** A server may take its time for the first object of a bucket. S3's own words for silence come before a check's. */
const STORE_MS = 30_000;
const S3_LIMITS = { tries: 2, connectMs: 4_000, silentMs: 12_000 };
const NAME_WIDTH = 21;
const STYLES = { ok: "green", wrong: "red", note: "yellow" } as const satisfies Record<CheckState, string>;

/** `labelmill doctor`: a line a check, as each is made. @returns the exit code: 1 if anything is wrong */
export async function doctor(out: string | undefined, world: LabelWorld, modelsDir = BUILT_IN_DIR): Promise<number> {
  const { terminal } = world;
  const checks: CheckResult[] = [];
  for await (const check of examine(out, world, modelsDir)) {
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

  const modelDir = join(modelsDir, DEFAULT_MODELS.images);
  yield runCheck("provider cpu", () => checkCpu(modelDir));
  yield runCheck("provider cuda", () => checkCuda(modelDir));
  const names = await builtInModels(modelsDir);
  if (names.length === 0) yield runCheck("models", () => wrong(`none in ${modelsDir}`, INSTALL_AGAIN));
  for (const name of names) yield runCheck(`model ${name}`, () => checkModel(name, modelsDir));
}

function show({ name, state, found, mend }: CheckResult, terminal: Terminal): void {
  const word = terminal.style(STYLES[state], state.padEnd(5));
  const advice = mend === undefined ? "" : `. To ${state === "wrong" ? "mend" : "change"} it, ${mend}`;
  terminal.print(`${word}  ${name.padEnd(NAME_WIDTH)}  ${found}${advice}`);
}
