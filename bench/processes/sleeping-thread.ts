/** The inference thread with a model that sleeps a fixed time per item. It needs no core, as a machine may have fewer cores than workers. */
import type { OpenSession } from "../../src/inference/sessions/model-session.ts";
import { serveSession } from "../../src/inference/sessions/serve-session.ts";
import { SLEEP_MS } from "../config.ts";

const open: OpenSession = async ({ labels }) => {
  const clock = new Int32Array(new SharedArrayBuffer(4));
  return {
    inputs: ["input_ids", "attention_mask"].map((name) => ({ name, type: "int64" })),
    outputs: ["logits"],
    run: async ([first]) => {
      const rows = first!.dims[0]!;
      Atomics.wait(clock, 0, 0, rows * SLEEP_MS);
      const data = Float32Array.from({ length: rows * labels }, (_, at) => at % labels);
      return { type: "float32", data, dims: [rows, labels] };
    },
    release: async () => {},
  };
};

await serveSession(open);
