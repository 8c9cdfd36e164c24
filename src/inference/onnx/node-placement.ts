import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A node of the model in onnxruntime's profile of a run. */
type NodeRun = { cat: string; args: { op_name: string; provider: string } };

const CUDA = "CUDAExecutionProvider";
/** Where a model's arithmetic is, whatever onnxruntime has fused it with. */
const ARITHMETIC = /Conv|MatMul|Gemm|Attention|LSTM|GRU/;

/**
 * onnxruntime runs on the CPU what a GPU's provider has no kernel for, and says nothing. Its option against that
 * (`disable_cpu_ep_fallback`) refuses a model for any node there, also for those that compute shapes, which it puts on the CPU on
 * purpose: no transformer would load. So what a real model is asked for is that its arithmetic runs on the GPU.
 * @param profile what onnxruntime wrote of a run, JSON
 * @throws Error naming the operators that ran elsewhere
 */
export function checkPlacement(profile: string): void {
  const nodes = (JSON.parse(profile) as NodeRun[]).filter(({ cat }) => cat === "Node");
  const arithmetic = nodes.filter(({ args }) => ARITHMETIC.test(args.op_name));
  const elsewhere = arithmetic.filter(({ args }) => args.provider !== CUDA);
  if (elsewhere.length === 0 && nodes.some(({ args }) => args.provider === CUDA)) return;
  const operators = [...new Set(elsewhere.map(({ args }) => args.op_name))].sort().join(", ");
  const came =
    elsewhere.length === 0 ? "none" : `${elsewhere.length} of ${arithmetic.length} (${operators}) on the CPU`;
  throw new Error(`nodes that compute on the GPU: ${came}; take another --dtype, or --device cpu`);
}

/** The file in which onnxruntime notes the first run of a session, in a folder of its own. */
export class FirstRun {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<FirstRun> {
    return new FirstRun(await mkdtemp(join(tmpdir(), "labelmill-run-")));
  }

  /** What the file's name begins with. */
  get prefix(): string {
    return join(this.#folder, "run");
  }

  /** Once the run is noted: what stands there. */
  async read(): Promise<string> {
    const [name = "run"] = await readdir(this.#folder);
    return readFile(join(this.#folder, name), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
