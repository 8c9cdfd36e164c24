import { LabelmillError } from "../../errors.ts";
import type { PassedOverReport } from "../../schemas/input.ts";
import type { RunFile, RunState } from "../../schemas/run.ts";
import { localPath } from "./local-path.ts";
import { type PrepareDeps, prepareRun } from "./prepare-run.ts";
import type { RunRequest } from "./request.ts";

/** A run that is submitted. `state`: `planning`, or the end state of a run that was finished before. */
export type Submitted = { run: string; out: string; state: RunState; passedOver: PassedOverReport | undefined };

export type SubmitDeps = PrepareDeps & {
  /** Queues the planning of a run whose `_run.json` is written. */
  queuePlan(run: string, output: string): Promise<void>;
  /** Rejects if the caller may not continue the run that the output belongs to. Default: every caller may. */
  checkFormer?: ((former: RunFile) => Promise<void>) | undefined;
};

/**
 * Submits a run that workers plan: checks it, writes its `_run.json` and queues its planning. Its output may have a part of the same
 * run already, or all of it.
 * @throws LabelmillError as `prepareRun`, before anything is queued; USAGE for standard input
 */
export async function submitRun(
  request: RunRequest & { out: string },
  deps: SubmitDeps,
  signal: AbortSignal,
): Promise<Submitted> {
  if (request.inputs.includes("-"))
    throw new LabelmillError("USAGE", "workers plan the run, and cannot read standard input (-): use labelmill label");
  await using open = new AsyncDisposableStack();
  const { store, opened, inputs, claim } = await prepareRun(request, deps, open);
  signal.throwIfAborted();
  const local = inputs.find(({ input }) => input.uri.startsWith("file:"));
  if (local && !request.sharedFiles) throw localPath(local.input.uri, "put it on S3");
  if (opened.kind !== "new") await deps.checkFormer?.(opened.kind === "abandoned" ? opened.former : opened.runFile);
  await claim();
  const { run } = opened.runFile;
  if (opened.kind === "finished") {
    const { state, passedOver } = opened.manifest;
    return { run, out: store.uri, state, passedOver };
  }
  await deps.queuePlan(run, store.uri);
  return { run, out: store.uri, state: "planning", passedOver: opened.runFile.passedOver };
}
