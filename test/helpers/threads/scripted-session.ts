import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../../src/inference/devices/device.ts";
import { loadModel, type Model } from "../../../src/inference/model/model.ts";
import type { SessionSetup, Shape } from "../../../src/inference/sessions/model-session.ts";
import { writeImageModel, writeTextModel } from "../models/onnx.ts";

/** The behaviour of a session without a model: see scripted-session-thread.ts. */
export type Script = {
  /** A file that gets a line (SessionCall) before each call is executed. */
  log: string;
  /** Batches of a higher padded cost fail for lack of memory. */
  memory?: number;
  /** A lower limit that applies from this run on, counted from 0. */
  memoryLater?: { runs: number; memory: number };
  /** The run at which the device is lost, counted from 0, runs of the warm-up included. */
  lostAt?: number;
  /** A file that the first process creates at its loss, so that `lostAt` applies only once over all processes. */
  lostMark?: string;
  /** The device is lost at a batch with this token. */
  lostOn?: number;
  /** Duration of a run in ms, by device. */
  ms?: Partial<Record<Device, number>>;
  /** Whether the output is float16, as in a model of half precision. Default: float32. */
  half?: boolean;
};

export type SessionCall = { device: Device } & (
  | { kind: "open"; setup: SessionSetup }
  | { kind: "run"; shape: Shape; masked: number }
  | { kind: "close" }
);
export type Run = Extract<SessionCall, { kind: "run" }>;

/** Lies beside the ONNX file. */
export const SCRIPT_FILE = "script.json";
export const SCRIPTED_THREAD = new URL("scripted-session-thread.ts", import.meta.url);

/** Labels of a scripted model. The best label is the sum of a text's tokens, or the first value of an image, modulo this. */
export const SCRIPTED_LABELS = 5;

/** Writes the folder of a model with a script beside its ONNX file. The ONNX model itself gives all items the same scores. */
export async function writeScripted(dir: string, kind: "text" | "image", script: Omit<Script, "log">): Promise<Model> {
  await mkdir(dir, { recursive: true });
  const zeros = new Array<number>(SCRIPTED_LABELS).fill(0);
  await (kind === "text" ? writeTextModel : writeImageModel)(dir, { weights: zeros, bias: zeros });
  const whole: Script = { log: join(dir, "log.jsonl"), ...script };
  await writeFile(whole.log, "");
  await writeFile(join(dir, "onnx", SCRIPT_FILE), JSON.stringify(whole));
  return loadModel(dir);
}

/** The calls that the sessions of a scripted model got so far, in order per device. */
export async function callsOf({ dir }: Model): Promise<SessionCall[]> {
  const text = await readFile(join(dir, "log.jsonl"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

export function runsOf(calls: readonly SessionCall[]): Run[] {
  return calls.filter((each) => each.kind === "run");
}
