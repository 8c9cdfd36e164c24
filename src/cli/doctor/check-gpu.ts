import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  cudaFixFor,
  cudaPlaces,
  findCudaProblem,
  PROVIDER_LIBRARY,
} from "../../inference/devices/cuda-requirements.ts";
import { type Device, kindOf } from "../../inference/devices/device.ts";
import { compareWithCpu, type DeviceComparison } from "../../inference/devices/device-comparison.ts";
import { gpusOf, proveGpus } from "../../inference/devices/devices.ts";
import type { Model } from "../../inference/model/model.ts";
import { readTokenLimits } from "../../inference/model/token-limits.ts";
import { encodeOnce } from "../../inference/preprocess/prepare-pool.ts";
import type { Packable } from "../../inference/sessions/batch-buffer.ts";
import type { Shape } from "../../inference/sessions/model-session.ts";
import { sizeModel } from "../../inference/tuning/batch-sizing.ts";
import { PROOF_MODEL_DIR } from "../local-devices.ts";
import { type CheckResult, type Finding, ok, runCheck, wrong } from "./check.ts";

const ALL_GPUS_MS = 70_000;
/** A large model is loaded, and warmed up and timed in each of its shapes. */
const MODEL_MS = 20 * 60_000;
const LDD_MS = 10_000;
/** File names of the CUDA and cuDNN libraries. */
const CUDA_LIBRARY = /^lib(?:cuda|cudart|cudnn|cublas|cufft|curand|cusparse|nvrtc|nvJitLink)/;
/** Largest difference of a score from the CPU's. GPUs add in another order, and may multiply with fewer bits (TF32). */
const TOLERANCES = { fp32: 0.01, fp16: 0.02, q8: 0.1 } as const;
const SENTENCE = "The first half is slow, but what follows is warm, funny and, in the end, quite moving.";
const execute = promisify(execFile);

/** Checks the CUDA libraries, each GPU, and each model on each GPU. @param models loaded only if a GPU works */
export async function* checkGpus(models: readonly (() => Promise<Model>)[]): AsyncGenerator<CheckResult> {
  const files = await runCheck("CUDA", checkFiles, LDD_MS + 1000);
  yield files;
  if (files.state === "wrong") return;
  let gpus: Device[] = [];
  yield runCheck(
    "GPUs",
    async () => {
      const { devices, problem } = await proveGpus(gpusOf("cuda:all"), PROOF_MODEL_DIR);
      gpus = devices;
      if (gpus.length === 0) return wrong(problem!.cause, problem!.fix);
      return ok(`a session ran on ${gpus.join(", ")}${problem ? `; not on the next GPU: ${problem.cause}` : ""}`);
    },
    ALL_GPUS_MS,
  );
  if (gpus.length === 0) return;
  for (const load of models) {
    const model = await load();
    for (const gpu of gpus) yield runCheck(`${model.id} ${gpu}`, () => checkModelOn(model, gpu), MODEL_MS);
  }
}

/** Checks without a session: the devices of the driver, the CUDA provider of onnxruntime, and the libraries that it needs. */
async function checkFiles(): Promise<Finding> {
  const places = cudaPlaces();
  const lacking = await findCudaProblem(places);
  if (lacking) return wrong(lacking.cause, lacking.fix);
  const { found, missing } = await librariesOf(join(places.libraries, PROVIDER_LIBRARY));
  if (missing.length === 0) return ok(`a GPU, ${PROVIDER_LIBRARY}, ${found.join(", ") || "and no library is missing"}`);
  const problem = `${missing.join(", ")} missing`;
  return wrong(`${problem}; found ${found.join(", ") || "none"}`, cudaFixFor(problem));
}

/** The CUDA libraries that a library needs, as the loader of the system finds them. Both lists are empty on a system without `ldd`. */
async function librariesOf(file: string): Promise<{ found: string[]; missing: string[] }> {
  const { stdout } = await execute("ldd", [file], { timeout: LDD_MS }).catch(() => ({ stdout: "" }));
  return readLdd(stdout);
}

export function readLdd(stdout: string): { found: string[]; missing: string[] } {
  const found: string[] = [];
  const missing: string[] = [];
  for (const [, name = "", at] of stdout.matchAll(/^\s*(\S+) => (\S+)/gm))
    if (at === "not") missing.push(name);
    else if (CUDA_LIBRARY.test(name)) found.push(name);
  return { found, missing };
}

/** Compares a model on a GPU with the CPU. @param thread for tests: the file that the thread of the GPU runs */
export async function checkModelOn(
  model: Model,
  gpu: Device,
  given?: readonly Shape[],
  thread?: URL,
): Promise<Finding> {
  const shapes = given ?? (await sizeModel(model, kindOf(gpu))).warmUp;
  const comparison = await compareWithCpu(model, gpu, await itemsOf(model, shapes), shapes, thread);
  const { items, differ, largest } = comparison;
  const answers = `${model.dtype}: ${items - differ} of ${items} best labels match the CPU, scores differ by at most ${largest.toFixed(5)}`;
  if (differ > 0 || largest > TOLERANCES[model.dtype])
    return wrong(
      answers,
      "use --device cpu or another --dtype, and report the problem with the name and the driver of the GPU",
    );
  return ok(`${answers}; ${ratesOf(comparison)}`);
}

/** Items for each length of the shapes: texts that fill it, or images of one colour and of stripes. */
async function itemsOf(model: Model, shapes: readonly Shape[]): Promise<Packable[]> {
  if (model.recipe) {
    const { width, height } = model.recipe;
    return [1, 5, 11, 60, 255].map((step) =>
      Uint8Array.from({ length: width * height * 3 }, (_, at) => (at * step) % 256),
    );
  }
  const { maxTokens } = await readTokenLimits(model.dir);
  const { ids } = await encodeOnce(model.dir, `${SENTENCE} `.repeat(Math.ceil(maxTokens / 10)));
  const lengths = [...new Set(shapes.map(({ length }) => Math.min(length, ids.length)))];
  return lengths.flatMap((length) => [ids.slice(0, length), ids.slice(0, Math.max(1, length >> 1))]);
}

/** The best rate for each length. */
function ratesOf({ rates }: DeviceComparison): string {
  const best = new Map<number, DeviceComparison["rates"][number]>();
  for (const rate of rates) {
    const before = best.get(rate.shape.length);
    if (!before || rate.itemsPerSecond > before.itemsPerSecond) best.set(rate.shape.length, rate);
  }
  const rows = [...best].map(([length, { shape, itemsPerSecond }]) => {
    const of = length === 1 ? "" : ` of ${length} tokens`;
    return `${itemsPerSecond.toFixed(itemsPerSecond < 100 ? 1 : 0)} items/s${of} in batches of ${shape.rows}`;
  });
  return rows.join(", ");
}
