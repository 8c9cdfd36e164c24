import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadModel, type Model } from "../../../src/inference/model/model.ts";
import type { Device, SessionSetup, Shape } from "../../../src/inference/sessions/model-session.ts";
import { writeImageModel, writeTextModel } from "../models/onnx.ts";

/** What a session does that has no model: see scripted-session-thread.ts. */
export type Script = {
  /** A file to which it adds a line (Asked) before it does what it is asked for. */
  log: string;
  /** Batches of more padded cost than this find no memory. */
  memory?: number;
  /** From this number of runs on there is less of it. */
  memoryLater?: { runs: number; memory: number };
  /** From this run on, counted from 0 and with those of the warm-up, the device is lost. */
  lostAt?: number;
  /** That is to happen once only: the file that tells other processes that it has. */
  lostMark?: string;
  /** An item that holds this token takes the device with it. */
  lostOn?: number;
  /** Milliseconds of a run, by device. */
  ms?: Partial<Record<Device, number>>;
  /** Its output is float16, as that of a model in half precision may be. */
  half?: boolean;
};

export type Asked = { device: Device } & (
  | { kind: "open"; setup: SessionSetup }
  | { kind: "run"; shape: Shape; masked: number }
  | { kind: "close" }
);
export type Run = Extract<Asked, { kind: "run" }>;

/** Beside the ONNX file. */
export const SCRIPT_FILE = "script.json";
export const SCRIPTED_THREAD = new URL("scripted-session-thread.ts", import.meta.url);

/** Labels of a scripted model: a text's best is the sum of its tokens modulo this, a picture's its first value. */
export const SCRIPTED_LABELS = 5;

/** A model's folder with a script beside its ONNX file, which holds a model that says the same of everything. */
export async function writeScripted(dir: string, kind: "text" | "image", script: Omit<Script, "log">): Promise<Model> {
  await mkdir(dir, { recursive: true });
  const nothing = new Array<number>(SCRIPTED_LABELS).fill(0);
  await (kind === "text" ? writeTextModel : writeImageModel)(dir, { weights: nothing, bias: nothing });
  const whole: Script = { log: join(dir, "log.jsonl"), ...script };
  await writeFile(whole.log, "");
  await writeFile(join(dir, "onnx", SCRIPT_FILE), JSON.stringify(whole));
  return loadModel(dir);
}

/** What the sessions of a scripted model were asked for so far, each device's in its order. */
export async function askedOf({ dir }: Model): Promise<Asked[]> {
  const text = await readFile(join(dir, "log.jsonl"), "utf8");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

export function runsOf(asked: readonly Asked[]): Run[] {
  return asked.filter((each) => each.kind === "run");
}
