import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A node of the model in onnxruntime's profile of a run. */
type NodeRun = { cat: string; args: { op_name: string; provider: string } };

/** Operators that do a model's arithmetic, also within the names of fused ones. */
const ARITHMETIC = /Conv|MatMul|Gemm|Attention|LSTM|GRU/;

/**
 * Checks that a model's arithmetic ran on the GPU. onnxruntime silently runs nodes on the CPU for which the GPU's provider has no
 * kernel. Its option against that (`disable_cpu_ep_fallback`) refuses every such node, also those that compute shapes, which
 * onnxruntime places on the CPU on purpose: no transformer would load.
 * @param profile onnxruntime's profile of a run, JSON
 * @param provider the name of the GPU's execution provider
 * @throws Error naming the operators that ran elsewhere
 */
export function checkPlacement(profile: string, provider: string): void {
  const nodes = (JSON.parse(profile) as NodeRun[]).filter(({ cat }) => cat === "Node");
  const arithmetic = nodes.filter(({ args }) => ARITHMETIC.test(args.op_name));
  const elsewhere = arithmetic.filter(({ args }) => args.provider !== provider);
  if (elsewhere.length === 0 && nodes.some(({ args }) => args.provider === provider)) return;
  const operators = [...new Set(elsewhere.map(({ args }) => args.op_name))].sort().join(", ");
  const got =
    elsewhere.length === 0 ? "no nodes there" : `${elsewhere.length} of ${arithmetic.length} (${operators}) on the CPU`;
  throw new Error(`expected nodes that compute on the GPU, got ${got}; use another --dtype, or --device cpu`);
}

/** The file, in a temporary folder, to which onnxruntime writes the profile of a session's first run. */
export class FirstRunProfile {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<FirstRunProfile> {
    return new FirstRunProfile(await mkdtemp(join(tmpdir(), "labelmill-run-")));
  }

  /** The beginning of the file's path. */
  get prefix(): string {
    return join(this.#folder, "run");
  }

  /** The file's content, once profiling has ended. */
  async read(): Promise<string> {
    const [name = "run"] = await readdir(this.#folder);
    return readFile(join(this.#folder, name), "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
