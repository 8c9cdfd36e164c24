import { LabelmillError } from "../../errors.ts";
import type { Device } from "../sessions/model-session.ts";
import { probeDevices } from "../sessions/session-probe.ts";
import { type CudaPlaces, cudaPlaces, type Lack, lackOf, mendFor } from "./cuda-requirements.ts";

/** Where models run: GPUs, each with an inference thread of its own, or, undefined, the CPU. `why` is told with it. */
export type DeviceChoice = { devices: readonly Device[] | undefined; why: string };

/** More GPUs than this are in no machine; and each is tried. */
const MOST_GPUS = 16;
/** The libraries of CUDA and cuDNN are gigabytes, and the first to load them after a start of the machine reads them from its disk. */
const PROOF_MS = 60_000;
const ASKED = "it was asked for";

/** The GPUs that a setting of `--device` names; `cpu` has none. */
export function gpusOf(setting: string): Device[] {
  if (setting === "cpu") return [];
  if (setting === "cuda:all") return Array.from({ length: MOST_GPUS }, (_, gpu): Device => `cuda:${gpu}`);
  const [, gpu = "0"] = setting.split(":");
  return [`cuda:${Number(gpu)}`];
}

/**
 * Where models are to run. A GPU counts only when a real session has run on it; where none can be, that is seen without trying.
 * @param setting `auto`: the first GPU if it works, else the CPU. `cpu`, `cuda`, `cuda:N`, `cuda:all`: that or nothing
 * @param modelDir a small model, with convolutions: they need cuDNN, which others do without
 * @throws LabelmillError DEVICE_UNAVAILABLE
 */
export async function chooseDevices(
  setting: string,
  modelDir: string,
  places: CudaPlaces = cudaPlaces(),
): Promise<DeviceChoice> {
  if (setting === "cpu") return { devices: undefined, why: ASKED };
  const wanted = gpusOf(setting);
  const { devices, lack } = await proveGpus(wanted, modelDir, places);
  if (setting === "auto")
    return devices.length > 0 ? { devices, why: "a session ran on it" } : { devices: undefined, why: lack!.problem };
  if (setting === "cuda:all" && devices.length > 0) return { devices, why: allWhy(devices, lack) };
  if (!lack) return { devices, why: ASKED };
  throw new LabelmillError(
    "DEVICE_UNAVAILABLE",
    `--device ${setting}: expected a GPU that runs models: ${lack.problem}. To mend it, ${lack.mend}; or take --device cpu`,
  );
}

/** Which of the GPUs work, from the first on, and what the next one lacks. */
export async function proveGpus(
  wanted: readonly Device[],
  modelDir: string,
  places: CudaPlaces = cudaPlaces(),
): Promise<{ devices: Device[]; lack?: Lack }> {
  const lack = await lackOf(places);
  if (lack) return { devices: [], lack };
  // Nothing of this model needs the CPU, so that all of it must run on the GPU.
  const { ran, problem } = await probeDevices({ modelDir, dtype: "fp32", devices: wanted, strict: true }, PROOF_MS);
  const devices = wanted.slice(0, ran);
  if (problem === undefined) return { devices };
  return { devices, lack: { problem: `${wanted[ran]}: ${problem}`, mend: mendFor(problem) } };
}

/** For people and for the log. */
export function describeDevices({ devices, why }: DeviceChoice): string {
  return `on ${devices ? devices.join(", ") : "the CPU"}: ${why}`;
}

function allWhy(devices: readonly Device[], lack: Lack | undefined): string {
  const next = lack ? `; ${lack.problem}` : "";
  return `${ASKED}, and a session ran on ${devices.length === 1 ? "this one" : `all ${devices.length}`}${next}`;
}
