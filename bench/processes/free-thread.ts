/** The inference thread with a model that costs nothing. The rest of the thread is that of the pipeline. */
import { IMAGE_ELEMENTS } from "../../src/inference/batching/collate.ts";
import type { ModelSession, OpenSession } from "../../src/inference/sessions/model-session.ts";
import { serveSession } from "../../src/inference/sessions/serve-session.ts";

const openFreeSession: OpenSession = async ({ input, labels }): Promise<ModelSession> => {
  let logits = new Float32Array(0);
  return {
    inputs:
      input.kind === "text"
        ? ["input_ids", "attention_mask"].map((name) => ({ name, type: "int64" }))
        : [{ name: "pixels", type: IMAGE_ELEMENTS }],
    outputs: ["logits"],
    run: async ([first]) => {
      const rows = first!.dims[0]!;
      if (logits.length < rows * labels) logits = Float32Array.from({ length: rows * labels }, (_, at) => at % labels);
      return { type: "float32", data: logits.subarray(0, rows * labels), dims: [rows, labels] };
    },
    release: async () => {},
  };
};

await serveSession(openFreeSession);
