import type { Device } from "../devices/device.ts";
import type { ImageRecipe } from "../model/image-recipe.ts";
import type { PaddingSide } from "../model/tokenizer/config.ts";

/** The size that a batch is padded to: items, and tokens of each (1 for images). */
export type Shape = { rows: number; length: number };

/** How items become the model's inputs. */
export type ModelInput =
  | { kind: "text"; padId: number; paddingSide?: PaddingSide }
  | { kind: "image"; recipe: ImageRecipe };
export type InputKind = ModelInput["kind"];
export type ModelInputOf<K extends InputKind> = Extract<ModelInput, { kind: K }>;

/** What an inference thread needs to start. */
export type SessionSetup = {
  /** Absolute path of the ONNX file. */
  modelFile: string;
  input: ModelInput;
  /** Number of labels: the width of the model's output. */
  labels: number;
  device: Device;
  /** Threads within one run. Only the CPU uses them. */
  intraOpThreads: number;
  /** Shapes to run before the first batch, the largest first. */
  warmUp: readonly Shape[];
  /** Whether every node must run on the GPU: for the model that proves a GPU. */
  strict?: boolean;
};

/** One input of the model, ready to run. The data is a view of a buffer that the next batch overwrites. */
export type Input = {
  name: string;
  data: BigInt64Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;
  dims: number[];
};

/** An input as the model declares it, with its element type: `int64`, `float32`, `uint8`, … */
export type InputInfo = { name: string; type: string };

export type Output = { type: string; data: unknown; dims: readonly number[] };

/** A loaded model in an inference thread. It runs one batch at a time. */
export interface ModelSession {
  readonly inputs: readonly InputInfo[];
  readonly outputs: readonly string[];
  /** Throws what the runtime throws. */
  run(feeds: readonly Input[], output: string): Promise<Output>;
  release(): Promise<void>;
}

/** Opens a model. Throws if it cannot be opened on the device of the setup. */
export type OpenSession = (setup: SessionSetup) => Promise<ModelSession>;
