import type { ImageRecipe } from "../model/image-recipe.ts";
import type { PaddingSide } from "../model/tokenizer/config.ts";

/** Where a session runs: the CPU, or a GPU by its number. */
export type Device = "cpu" | `cuda:${number}`;

/** The most that a batch is padded to: items, and tokens of each (1 for images). */
export type Shape = { rows: number; length: number };

/** What an inference thread is started with. */
export type SessionSetup = {
  /** Absolute path of the ONNX file. */
  modelFile: string;
  /** How items become the model's inputs. */
  input: { kind: "text"; padId: number; paddingSide?: PaddingSide } | { kind: "image"; recipe: ImageRecipe };
  /** Labels of the model: the width of its output. */
  labels: number;
  device: Device;
  /** Threads within one run; only the CPU has a use for them. */
  intraOpThreads: number;
  /** Shapes that are run before the first batch comes, the largest first. */
  warmUp: readonly Shape[];
  /** On a GPU, not a single node may run elsewhere: for a model that is there to prove the GPU. */
  strict?: boolean;
};

/** One input of the model, ready to run. The data is a view of a buffer that the next batch overwrites. */
export type Input = {
  name: string;
  data: BigInt64Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
  dims: number[];
};

/** An input as the model states it, with its element type: `int64`, `float32`, `uint8`, … */
export type InputInfo = { name: string; type: string };

export type Output = { type: string; data: unknown; dims: readonly number[] };

/** A loaded model, as an inference thread runs it: one run at a time. */
export interface ModelSession {
  readonly inputs: readonly InputInfo[];
  readonly outputs: readonly string[];
  /** Throws what the runtime throws. */
  run(feeds: readonly Input[], output: string): Promise<Output>;
  release(): Promise<void>;
}

/** Opens a model; throws if that cannot be done on the device that is asked for. */
export type OpenSession = (setup: SessionSetup) => Promise<ModelSession>;
