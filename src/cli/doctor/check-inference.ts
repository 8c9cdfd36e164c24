import { LabelmillError, toLabelmillError } from "../../errors.ts";
import { proveGpus } from "../../inference/devices/devices.ts";
import { loadModel } from "../../inference/model/model.ts";
import { probeSession } from "../../inference/sessions/session-probe.ts";
import { type Finding, note, ok, wrong } from "./check.ts";

export const INSTALL_AGAIN = "install labelmill anew: the files of its packages are not whole";

export async function checkCpu(modelDir: string): Promise<Finding> {
  const problem = await probeSession(modelDir, "cpu");
  return problem === undefined ? ok("a session was made and ran") : wrong(problem, INSTALL_AGAIN);
}

export async function checkCuda(modelDir: string): Promise<Finding> {
  const { problem } = await proveGpus(["cuda:0"], modelDir);
  if (!problem) return ok("a session was made and ran on cuda:0; labelmill doctor --gpu says more");
  return note(`not usable: ${problem.cause}. Models run on the CPU`, problem.fix);
}

/** A model that came with labelmill: its files are there, and a session of it runs. */
export async function checkModel(modelDir: string): Promise<Finding> {
  const model = await loadModel(modelDir).catch(toLabelmillError);
  if (model instanceof LabelmillError) return wrong(`${model.code}: ${model.message}`, INSTALL_AGAIN);
  const { digest, task, labels, files } = model;
  const problem = await probeSession(modelDir, "cpu");
  if (problem !== undefined) return wrong(problem, INSTALL_AGAIN);
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return ok(
    `${task}, ${labels.length} labels, ${files.length} files (${(bytes / 1e6).toFixed(1)} MB), digest ${digest}`,
  );
}
