/**
 * An inference thread whose model takes a time that the test sets: the path of its "ONNX file" is a TimedScript in JSON. The thread
 * sleeps for that time as a model would compute, without turning its loop. Every row gets the same logits, the first label the highest.
 */
import type { OpenSession } from "../../../src/inference/sessions/model-session.ts";
import { serveSession } from "../../../src/inference/sessions/serve-session.ts";

export type TimedScript = {
  /** Milliseconds that a batch takes at least, whatever its size: up to there larger ones are for free. */
  leastMs: number;
  /** Milliseconds of a unit of padded cost, by the threads of the session. */
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

// The tests import the types alone.
await serveSession(open);
