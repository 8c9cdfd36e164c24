/** An inference thread whose model takes BATCH_MS for each batch without using a core, and reports the times of its runs. */
import { BroadcastChannel } from "node:worker_threads";
import type { ModelSession, OpenSession } from "../../../src/inference/sessions/model-session.ts";
import { serveSession } from "../../../src/inference/sessions/serve-session.ts";
import { BATCH_MS, RUNS_CHANNEL, type SlowRun } from "../runs/slow-runs.ts";

const openSlowSession: OpenSession = async ({ input, labels }): Promise<ModelSession> => {
  /** The first run is the trial run after loading. */
  let isTrial = true;
  const channel = new BroadcastChannel(RUNS_CHANNEL);
  const never = new Int32Array(new SharedArrayBuffer(4));
  return {
    inputs:
      input.kind === "text"
        ? ["input_ids", "attention_mask"].map((name) => ({ name, type: "int64" }))
        : [{ name: "pixels", type: "uint8" }],
    outputs: ["logits"],
    run: async ([first]) => {
      const begin = performance.now();
      Atomics.wait(never, 0, 0, BATCH_MS);
      const rows = first!.dims[0]!;
      const run: SlowRun = { begin, end: performance.now(), rows };
      if (!isTrial) channel.postMessage(run);
      isTrial = false;
      const data = Float32Array.from({ length: rows * labels }, (_, at) => at % labels);
      return { type: "float32", data, dims: [rows, labels] };
    },
    release: async () => channel.close(),
  };
};

await serveSession(openSlowSession);
