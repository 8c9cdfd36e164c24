import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Why a device cannot be used, and how to fix that. */
export type DeviceProblem = { cause: string; fix: string };

/** The places that show whether this machine can have CUDA at all. */
export type CudaPlaces = {
  /** `process.platform` and `process.arch`. */
  platform: string;
  /** The folder of onnxruntime's native libraries. */
  libraries: string;
  /** The folder of the system's device files. */
  devices: string;
};

/** onnxruntime loads its CUDA provider from its own folder. The npm package lacks it: its install script downloads it. */
export const PROVIDER_LIBRARY = "libonnxruntime_providers_cuda.so";
/** The names of the device files of NVIDIA's driver, and of the one of the Windows Subsystem for Linux. */
const GPU = /^(?:nvidia(?:\d+|ctl)|dxg)$/;

const FETCH = "node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12";
const FIXES = {
  platform: "use a Linux x64 machine: onnxruntime-node supports CUDA on no other platform",
  provider: `install CUDA 12 and cuDNN 9, then the CUDA files of onnxruntime-node: ${FETCH}`,
  driver: "install NVIDIA's driver, and start containers with --gpus all",
  libraries: "install CUDA 12 and cuDNN 9, and add their folders to LD_LIBRARY_PATH if the loader does not find them",
} as const;

export function cudaPlaces(): CudaPlaces {
  const libraries = new URL("../bin/napi-v6/linux/x64/", import.meta.resolve("onnxruntime-node"));
  return {
    platform: `${process.platform} ${process.arch}`,
    libraries: fileURLToPath(libraries),
    devices: "/dev",
  };
}

/** What CUDA lacks on this machine, as far as two directory lookups show. Undefined: nothing; only a session proves CUDA. */
export async function findCudaProblem({
  platform,
  libraries,
  devices,
}: CudaPlaces): Promise<DeviceProblem | undefined> {
  if (platform !== "linux x64") return { cause: `no CUDA for ${platform}`, fix: FIXES.platform };
  const [library, driver] = await Promise.all([exists(join(libraries, PROVIDER_LIBRARY)), hasGpu(devices)]);
  const causes = [library ? [] : `${PROVIDER_LIBRARY} is missing`, driver ? [] : "no NVIDIA GPU was found"].flat();
  if (causes.length === 0) return undefined;
  const fixes = [library ? [] : FIXES.provider, driver ? [] : FIXES.driver].flat();
  return { cause: causes.join(", and "), fix: fixes.join("; ") };
}

/** How to fix what made a CUDA session fail. @param cause an error message of the runtime, the driver or the loader */
export function cudaFixFor(cause: string): string {
  if (/libcuda\.so|driver|no CUDA-capable device|CUDA failure 100\b/i.test(cause)) return FIXES.driver;
  if (/invalid device ordinal/.test(cause)) return "name an existing GPU, from cuda:0 on";
  return cause.includes("libonnxruntime_providers") ? FIXES.provider : FIXES.libraries;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function hasGpu(devices: string): Promise<boolean> {
  const names = await readdir(devices).catch(() => []);
  return names.some((name) => GPU.test(name));
}
