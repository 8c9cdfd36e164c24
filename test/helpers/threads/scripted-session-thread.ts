/** An inference thread whose session follows the script beside its ONNX file, and logs the calls that it gets. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Input, OpenSession } from "../../../src/inference/sessions/model-session.ts";
import { serveSession } from "../../../src/inference/sessions/serve-session.ts";
import { SCRIPT_FILE, type Script, type SessionCall } from "./scripted-session.ts";

const open: OpenSession = async (setup) => {
  const { device, labels, input } = setup;
  const script = JSON.parse(readFileSync(join(dirname(setup.modelFile), SCRIPT_FILE), "utf8")) as Script;
  const logCall = (call: SessionCall) => appendFileSync(script.log, `${JSON.stringify(call)}\n`);
  const clock = new Int32Array(new SharedArrayBuffer(4));
  let runs = 0;
  let memory = script.memory ?? Number.POSITIVE_INFINITY;
  let lost = false;

  /** Throws with the messages of CUDA. */
  function checkDevice(cost: number, ids: BigInt64Array | undefined): void {
    const run = runs++;
    if (run === script.memoryLater?.runs) memory = script.memoryLater.memory;
    lost ||= run === script.lostAt && isFirst(script.lostMark);
    lost ||= script.lostOn !== undefined && ids?.includes(BigInt(script.lostOn)) === true;
    if (lost) throw new Error("CUDA failure 700: an illegal memory access was encountered");
    if (cost > memory) throw new Error(`Failed to allocate memory for requested buffer of size ${cost * 1_000_000}`);
  }

  logCall({ kind: "open", device, setup });
  return {
    inputs:
      input.kind === "text"
        ? ["input_ids", "attention_mask"].map((name) => ({ name, type: "int64" }))
        : [{ name: "pixels", type: "uint8" }],
    outputs: ["logits"],
    run: async (feeds) => {
      const [rows = 0, length = 1] = input.kind === "text" ? feeds[0]!.dims : [feeds[0]!.dims[0]];
      const ids = input.kind === "text" ? (feeds[0]!.data as BigInt64Array) : undefined;
      const mask = ids && (feeds[1]!.data as BigInt64Array);
      const masked = mask ? mask.filter((each) => each === 0n).length : 0;
      logCall({ kind: "run", device, shape: { rows, length }, masked });
      checkDevice(rows * length, ids);
      const ms = script.ms?.[device];
      if (ms !== undefined) Atomics.wait(clock, 0, 0, ms);
      const best = ids ? bestOfTexts(ids, mask!, length) : bestOfPictures(feeds[0]!, rows);
      const logits = Float32Array.from({ length: rows * labels }, (_, at) => {
        const [row, label] = [Math.floor(at / labels), at % labels];
        return best[row]! % labels === label ? 2 : 0;
      });
      const dims = [rows, labels];
      return script.half
        ? { type: "float16", data: Float16Array.from(logits), dims }
        : { type: "float32", data: logits, dims };
    },
    release: async () => logCall({ kind: "close", device }),
  };
};

/** Whether this is the first process to create the file `mark`. True without a mark. */
function isFirst(mark: string | undefined): boolean {
  if (mark === undefined) return true;
  if (existsSync(mark)) return false;
  writeFileSync(mark, "");
  return true;
}

function bestOfTexts(ids: BigInt64Array, mask: BigInt64Array, length: number): number[] {
  const sums = new Array<number>(ids.length / length).fill(0);
  for (const [at, id] of ids.entries()) sums[Math.floor(at / length)]! += Number(id * mask[at]!);
  return sums;
}

function bestOfPictures({ data }: Input, rows: number): number[] {
  return Array.from({ length: rows }, (_, row) => Number(data[(row * data.length) / rows]));
}

// Tests import only the types of this file.
await serveSession(open);
