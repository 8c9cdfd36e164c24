import { once } from "node:events";
import type { WorkerProcessOptions } from "./processes/worker-main.ts";
import type { TestPipeline } from "./runs/pipeline.ts";

/** Restarts a worker each time it is killed, as a supervisor does, until `over`. @returns the number of kills */
export async function supervise(
  pipeline: TestPipeline,
  options: Partial<WorkerProcessOptions> & { model: string },
  over: AbortSignal,
): Promise<number> {
  for (let deaths = 0; ; deaths++) {
    const worker = await pipeline.spawnWorker(options);
    const stop = () => worker.kill("SIGTERM");
    over.addEventListener("abort", stop, { once: true });
    if (over.aborted) stop();
    if (worker.exitCode === null && worker.signalCode === null) await once(worker, "exit");
    if (over.aborted || worker.signalCode !== "SIGKILL") return deaths;
  }
}

/** The result of a run. Rejects if its workers cannot start, since the run then never ends. */
export function endOf<T>(run: Promise<T>, supervised: Promise<unknown>): Promise<T> {
  return Promise.race([run, supervised.then(() => run)]);
}
