import type { Config } from "../../config.ts";
import type { Progress } from "../../runs/ledger/progress.ts";
import type { OnInterrupt } from "./interrupts.ts";

/** What a worker does when it is interrupted. */
export function inWorker({ graceMs }: Config): OnInterrupt {
  const tell = () => `finishing the slices under way, for at most ${graceMs / 1000} s, then giving the rest back`;
  return { tell, graceMs };
}

/**
 * What `label` does when it is interrupted.
 * @param works whether a worker of this process takes part
 * @param latest how the run goes; undefined while that is not known
 */
export function inLabel(run: string, config: Config, works: boolean, latest: () => Progress | undefined): OnInterrupt {
  if (works) return inWorker(config);
  return {
    tell: () => `leaving ${whereabouts(run, latest())}`,
    message: () => `interrupted: ${whereabouts(run, latest())}`,
  };
}

/** What `run watch` does when it is interrupted. */
export function inWatch(run: string, latest: () => Progress | undefined): OnInterrupt {
  const tell = () => {
    const paused = latest()?.state === "paused";
    return `no longer watching run ${run}, which ${paused ? pausedWords(run) : goesOn(run)}`;
  };
  return { tell, message: () => "interrupted: that changed nothing of the run" };
}

/** Where a run is left that this command plans and others work on. */
function whereabouts(run: string, progress: Progress | undefined): string {
  if (progress?.state === "paused") return `run ${run}, which ${pausedWords(run)}`;
  if (progress?.slices !== undefined) return `run ${run}, which ${goesOn(run)}`;
  return `run ${run} while it is planned: the workers finish the slices that are queued, and the same command goes on with the rest (see: labelmill run watch ${run})`;
}

function goesOn(run: string): string {
  return `goes on in the workers (see: labelmill run watch ${run})`;
}

function pausedWords(run: string): string {
  return `is paused and waits (to go on: labelmill run resume ${run})`;
}
