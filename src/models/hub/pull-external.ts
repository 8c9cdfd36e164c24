import pLimit from "p-limit";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";
import { externalPaths } from "../../inference/model/external-weights.ts";
import { scanOnnx } from "../../inference/onnx/file-scan.ts";
import type { Pins } from "../lock-file.ts";
import type { HubRepo } from "./hub.ts";
import { byPath, findAt, type Plan } from "./pull-plan.ts";

/** Concurrent requests. */
const AT_ONCE = 8;

/**
 * Adds the files with external weights, as the ONNX file names them.
 * @param onnxFile the path of the downloaded ONNX file, whose content must have been checked
 * @throws LabelmillError MODEL_INVALID (a path outside of the model's folder, a file missing in the repository), and as `planPull`
 */
export async function withExternal(repo: HubRepo, plan: Plan, onnxFile: string): Promise<Plan> {
  const paths = await externalIn(repo, plan, onnxFile);
  return withFiles(repo, plan, paths, (path) => {
    const message = `model ${repo.repo}@${plan.commit}: ${plan.onnx} has weights in ${path}: expected this file in the repository, but it does not exist`;
    throw new LabelmillError("MODEL_INVALID", message);
  });
}

/** Adds the pinned files that the plan lacks, so that all of them are compared before any download. */
export async function withPinned(repo: HubRepo, plan: Plan, pins: Pins): Promise<Plan> {
  if (plan.commit !== pins.commit) return plan;
  const paths = pins.files.map(({ path }) => path);
  return withFiles(repo, plan, paths, () => undefined);
}

async function withFiles(
  repo: HubRepo,
  plan: Plan,
  paths: readonly string[],
  missing: (path: string) => undefined,
): Promise<Plan> {
  const known = new Set(plan.files.map(({ path }) => path));
  const more = paths.filter((path) => !known.has(path));
  const limit = pLimit(AT_ONCE);
  try {
    const found = await limit.map(more, (path) => findAt(repo, plan.commit, path));
    const files = found.map((file, i) => file ?? missing(more[i]!)).filter((file) => file !== undefined);
    return { ...plan, files: [...plan.files, ...files].sort(byPath) };
  } finally {
    // After a failure, the requests that have not started are not sent.
    limit.clearQueue();
  }
}

/** Empty for a file that is not an ONNX model: the loader uses the same scan and refuses it. */
async function externalIn(repo: HubRepo, plan: Plan, onnxFile: string): Promise<string[]> {
  const scan = await scanOnnx(onnxFile).catch((error: unknown) => {
    if (systemCode(error) !== undefined) throw error;
    return undefined;
  });
  try {
    return externalPaths(plan.onnx, scan?.locations ?? []);
  } catch (error) {
    const message = `model ${repo.repo}@${plan.commit}: ${messageOf(error)}`;
    throw new LabelmillError("MODEL_INVALID", message, { cause: error });
  }
}
