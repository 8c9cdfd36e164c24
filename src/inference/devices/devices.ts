import { LabelmillError } from "../../errors.ts";
import { probeDevices } from "../sessions/session-probe.ts";
import { type CudaPlaces, cudaFixFor, cudaPlaces, type DeviceProblem, findCudaProblem } from "./cuda-requirements.ts";
import { type AcceleratorKind, type Device, kindOf } from "./device.ts";

/** Where models run: accelerators with one inference thread each, or, if undefined, the CPU; and why there. */
export type DeviceChoice = { devices: readonly Device[] | undefined; why: string };

/** How each kind of accelerator is checked. */
type Accelerator = {
  /** What the machine lacks for it, found without a session. */
  findProblem: (places: CudaPlaces) => Promise<DeviceProblem | undefined>;
  /** How to fix what made a session fail. */
  fixFor: (cause: string) => string;
};

const ACCELERATORS: Record<AcceleratorKind, Accelerator> = {
  cuda: { findProblem: findCudaProblem, fixFor: cudaFixFor },
};
/** The kind that `auto` tries. */
const AUTO_KIND: AcceleratorKind = "cuda";

/** The most GPUs that `all` tries. No known machine has more. */
const MAX_GPUS = 16;
/** The libraries of CUDA and cuDNN take gigabytes. The first process after a boot reads them from disk. */
const PROOF_MS = 60_000;
const REQUESTED = "it was requested";

/** The GPUs that a `--device` setting names; none for `cpu`. */
export function gpusOf(setting: string): Device[] {
  if (setting === "cpu") return [];
  const [kind, index = "0"] = (setting === "auto" ? AUTO_KIND : setting).split(":") as [AcceleratorKind, string?];
  if (index === "all") return Array.from({ length: MAX_GPUS }, (_, gpu): Device => `${kind}:${gpu}`);
  return [`${kind}:${Number(index)}`];
}

/**
 * Chooses where models run. A GPU counts only if a real session ran on it. No session is tried if the machine lacks what it needs.
 * @param setting `auto`: the first GPU if it works, else the CPU. `cpu`, `cuda`, `cuda:N`, `cuda:all`: that device or an error
 * @param modelDir a small model with convolutions: only they need cuDNN
 * @throws LabelmillError DEVICE_UNAVAILABLE
 */
export async function chooseDevices(
  setting: string,
  modelDir: string,
  places: CudaPlaces = cudaPlaces(),
): Promise<DeviceChoice> {
  if (setting === "cpu") return { devices: undefined, why: REQUESTED };
  const { devices, problem } = await proveGpus(gpusOf(setting), modelDir, places);
  if (setting === "auto")
    return devices.length > 0 ? { devices, why: "a session ran on it" } : { devices: undefined, why: problem!.cause };
  if (setting.endsWith(":all") && devices.length > 0) return { devices, why: allWhy(devices, problem) };
  if (!problem) return { devices, why: REQUESTED };
  throw new LabelmillError(
    "DEVICE_UNAVAILABLE",
    `--device ${setting}: expected a GPU that runs models, got: ${problem.cause}. To fix it, ${problem.fix}; or use --device cpu`,
  );
}

/** Runs a session on each GPU in turn, up to the first that fails. @returns the GPUs that work, and the next one's problem */
export async function proveGpus(
  gpus: readonly Device[],
  modelDir: string,
  places: CudaPlaces = cudaPlaces(),
): Promise<{ devices: Device[]; problem?: DeviceProblem }> {
  const [first] = gpus;
  if (first === undefined) return { devices: [] };
  const { findProblem, fixFor } = ACCELERATORS[kindOf(first) as AcceleratorKind];
  const lacking = await findProblem(places);
  if (lacking) return { devices: [], problem: lacking };
  // No node of this model needs the CPU, so every node must run on the GPU.
  const { ran, problem } = await probeDevices({ modelDir, dtype: "fp32", devices: gpus, strict: true }, PROOF_MS);
  const devices = gpus.slice(0, ran);
  if (problem === undefined) return { devices };
  return { devices, problem: { cause: `${gpus[ran]}: ${problem}`, fix: fixFor(problem) } };
}

/** Text for the terminal and the log. */
export function describeDevices({ devices, why }: DeviceChoice): string {
  return `on ${devices ? devices.join(", ") : "the CPU"}: ${why}`;
}

function allWhy(devices: readonly Device[], problem: DeviceProblem | undefined): string {
  const next = problem ? `; ${problem.cause}` : "";
  return `${REQUESTED}, and a session ran on ${devices.length === 1 ? "this one" : `all ${devices.length}`}${next}`;
}
