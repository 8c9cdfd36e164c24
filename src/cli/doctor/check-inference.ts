import { LabelmillError, toLabelmillError } from "../../errors.ts";
import { proveGpus } from "../../inference/devices/devices.ts";
import { loadModel } from "../../inference/model/model.ts";
import { probeSession } from "../../inference/sessions/session-probe.ts";
import { type Finding, note, ok, wrong } from "./check.ts";

const REINSTALL = "install labelmill again: its packages are incomplete or damaged";

export async function checkCpu(modelDir: string): Promise<Finding> {
  const problem = await probeSession(modelDir, "cpu");
  return problem === undefined ? ok("a session ran") : wrong(problem, REINSTALL);
}

export async function checkCuda(modelDir: string): Promise<Finding> {
  const { problem } = await proveGpus(["cuda:0"], modelDir);
  if (!problem) return ok("a session ran on cuda:0; for more, run labelmill doctor --gpu");
  return note(`not usable: ${problem.cause}. Models run on the CPU`, problem.fix);
}

/** Checks a built-in model: its files are complete, and a session of it runs. */
export async function checkModel(modelDir: string): Promise<Finding> {
  const model = await loadModel(modelDir).catch(toLabelmillError);
  if (model instanceof LabelmillError) return wrong(`${model.code}: ${model.message}`, REINSTALL);
  const { digest, task, labels, files } = model;
  const problem = await probeSession(modelDir, "cpu");
  if (problem !== undefined) return wrong(problem, REINSTALL);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return ok(
    `${task}, ${labels.length} labels, ${files.length} files (${(bytes / 1e6).toFixed(1)} MB), digest ${digest}`,
  );
}
