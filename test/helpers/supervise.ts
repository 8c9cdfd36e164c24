import { once } from "node:events";
import type { WorkerProcessOptions } from "./processes/worker-main.ts";
import type { TestPipeline } from "./runs/pipeline.ts";

/** Starts a worker again whenever one was killed, as a supervisor would, until `over`. */
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

/** A run without workers has no end: what keeps them from starting ends the wait. */
export function endOf<T>(run: Promise<T>, supervised: Promise<unknown>): Promise<T> {
  return Promise.race([run, supervised.then(() => run)]);
}
