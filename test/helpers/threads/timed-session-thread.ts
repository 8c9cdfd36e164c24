/**
 * An inference thread whose model takes a time that the test sets: the path of its "ONNX file" is a TimedScript as JSON. The
 * thread sleeps for that time and, like a model that computes, does not run its event loop. Every row gets the same logits, the
 * highest for the first label.
 */
import type { OpenSession } from "../../../src/inference/sessions/model-session.ts";
import { serveSession } from "../../../src/inference/sessions/serve-session.ts";

export type TimedScript = {
  /** Minimum duration of a batch, in ms. */
  leastMs: number;
  /** Milliseconds per unit of padded cost, by the number of intra-op threads. */
  msPerCost: Record<number, number>;
};

const open: OpenSession = async ({ modelFile, input, labels, intraOpThreads }) => {
  const { leastMs, msPerCost } = JSON.parse(modelFile) as TimedScript;
  const clock = new Int32Array(new SharedArrayBuffer(4));
  return {
    inputs:
      input.kind === "text" ? [{ name: "input_ids", type: "int64" }] : [{ name: "pixel_values", type: "float32" }],
    outputs: ["logits"],
    run: async ([feed]) => {
      const [rows = 0, length = 0] = feed!.dims;
      const cost = input.kind === "text" ? rows * length : rows;
      Atomics.wait(clock, 0, 0, Math.max(leastMs, cost * msPerCost[intraOpThreads]!));
      const data = Float32Array.from({ length: rows * labels }, (_, at) => (at % labels === 0 ? 1 : 0));
      return { type: "float32", data, dims: [rows, labels] };
    },
    release: async () => {},
  };
};

// Tests import only the types of this file.
await serveSession(open);
