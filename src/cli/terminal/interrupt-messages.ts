import type { Config } from "../../config.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import type { OnInterrupt } from "./interrupts.ts";

/** How a worker handles an interrupt. */
export function inWorker({ graceMs }: Config): OnInterrupt {
  const describe = () => `finishing the running slices for at most ${graceMs / 1000} s, then giving the rest back`;
  return { describe, graceMs };
}

/**
 * How `label` handles an interrupt.
 * @param works whether this process has a worker
 * @param latest the progress of the run; undefined until it is known
 */
export function inLabel(run: string, config: Config, works: boolean, latest: () => Progress | undefined): OnInterrupt {
  if (works) return inWorker(config);
  return {
    describe: () => `leaving ${runState(run, latest())}`,
    message: () => `interrupted: ${runState(run, latest())}`,
  };
}

/** How `run watch` handles an interrupt. */
export function inWatch(run: string, latest: () => Progress | undefined): OnInterrupt {
  const describe = () => {
    const isPaused = latest()?.state === "paused";
    return `no longer watching run ${run}, which ${isPaused ? paused(run) : continues(run)}`;
  };
  return { describe, message: () => "interrupted: the run is not changed" };
}

/** What happens to a run that this command plans and other processes label. */
function runState(run: string, progress: Progress | undefined): string {
  if (progress?.state === "paused") return `run ${run}, which ${paused(run)}`;
  if (progress?.slices !== undefined) return `run ${run}, which ${continues(run)}`;
  return `run ${run} before its planning is complete: the workers finish the queued slices, and the same command resumes the rest (see: labelmill run watch ${run})`;
}

function continues(run: string): string {
  return `continues in the workers (see: labelmill run watch ${run})`;
}

function paused(run: string): string {
  return `is paused (to continue: labelmill run resume ${run})`;
}
