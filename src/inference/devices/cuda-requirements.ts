import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Why CUDA cannot be had, and what to do about it. */
export type Lack = { problem: string; mend: string };

/** Where it is seen whether this machine may have CUDA at all. */
export type CudaPlaces = {
  platform: string;
  /** The folder of onnxruntime's own libraries. */
  libraries: string;
  /** Where the system keeps its devices. */
  devices: string;
};

/** onnxruntime loads its CUDA provider from beside itself; the package brings it for no platform, its script fetches it. */
export const PROVIDER_LIBRARY = "libonnxruntime_providers_cuda.so";
/** As NVIDIA's driver names its devices, and Windows' subsystem for Linux its one. */
const GPU = /^(?:nvidia(?:\d+|ctl)|dxg)$/;

const FETCH = "node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12";
const MENDS = {
  platform: "take a Linux x64 machine: onnxruntime-node has CUDA for no other",
  provider: `install CUDA 12 and cuDNN 9, then onnxruntime-node's own files for them: ${FETCH}`,
  driver: "install NVIDIA's driver, and start containers with --gpus all",
  libraries: "install CUDA 12 and cuDNN 9, and name their folders in LD_LIBRARY_PATH if the loader does not know them",
} as const;

export function cudaPlaces(): CudaPlaces {
  const libraries = new URL("../bin/napi-v6/linux/x64/", import.meta.resolve("onnxruntime-node"));
  return {
    platform: `${process.platform} ${process.arch}`,
    libraries: fileURLToPath(libraries),
    devices: "/dev",
  };
}

/** What keeps a machine from CUDA, as far as can be seen without trying: in the time of two looks at the disk. */
export async function lackOf({ platform, libraries, devices }: CudaPlaces): Promise<Lack | undefined> {
  if (platform !== "linux x64") return { problem: `there is no CUDA for ${platform}`, mend: MENDS.platform };
  const [library, driver] = await Promise.all([isThere(join(libraries, PROVIDER_LIBRARY)), hasGpu(devices)]);
  const problems = [
    library ? [] : `${PROVIDER_LIBRARY} is missing`,
    driver ? [] : "no NVIDIA GPU is to be seen",
  ].flat();
  if (problems.length === 0) return undefined;
  const mends = [library ? [] : MENDS.provider, driver ? [] : MENDS.driver].flat();
  return { problem: problems.join(", and "), mend: mends.join("; ") };
}

/** What to do about the reason for which a session could not be made. */
export function mendFor(problem: string): string {
  if (/libcuda\.so|driver|no CUDA-capable device|CUDA failure 100\b/i.test(problem)) return MENDS.driver;
  if (/invalid device ordinal/.test(problem)) return "name a GPU that is there, from cuda:0 on";
  return problem.includes("libonnxruntime_providers") ? MENDS.provider : MENDS.libraries;
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function hasGpu(devices: string): Promise<boolean> {
  const names = await readdir(devices).catch(() => []);
  return names.some((name) => GPU.test(name));
}
