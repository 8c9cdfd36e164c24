import assert from "node:assert/strict";
import { access, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { PROOF_MODEL_DIR } from "../../../../src/cli/local-devices.ts";
import { loadConfig } from "../../../../src/config.ts";
import {
  cudaFixFor,
  cudaPlaces,
  findCudaProblem,
  PROVIDER_LIBRARY,
} from "../../../../src/inference/devices/cuda-requirements.ts";
import { chooseDevices, describeDevices, gpusOf } from "../../../../src/inference/devices/devices.ts";
import { probeDevices, probeSession } from "../../../../src/inference/sessions/session-probe.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

const LINUX = "linux x64";

/** The files of a machine with all or some of the requirements of CUDA. */
async function machine(has: { library?: boolean; gpu?: string }) {
  const folder = await temporaryFolder();
  const places = { platform: LINUX, libraries: join(folder.path, "lib"), devices: join(folder.path, "dev") };
  await mkdir(places.libraries);
  await mkdir(places.devices);
  if (has.library) await writeFile(join(places.libraries, PROVIDER_LIBRARY), "");
  if (has.gpu) await writeFile(join(places.devices, has.gpu), "");
  return { places, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe("--device", () => {
  test("is auto, cpu, cuda, cuda:N or cuda:all", () => {
    const read = (device: string) => loadConfig({ flags: { device } }).device;
    for (const device of ["auto", "cpu", "cuda", "cuda:0", "cuda:17", "cuda:all"]) assert.equal(read(device), device);
    for (const device of ["gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:100", "cuda:0,1", "CUDA", "tensorrt"]) {
      const expected = {
        code: "CONFIG_INVALID",
        message: `--device: auto, cpu, cuda, cuda:N or cuda:all, got "${device}"`,
      };
      assert.throws(() => read(device), expected);
    }
  });

  test("names GPUs", () => {
    assert.deepEqual(gpusOf("cpu"), []);
    assert.deepEqual(gpusOf("auto"), ["cuda:0"]);
    assert.deepEqual(gpusOf("cuda"), ["cuda:0"]);
    assert.deepEqual(gpusOf("cuda:11"), ["cuda:11"]);
    assert.equal(gpusOf("cuda:all").at(-1), "cuda:15");
  });

  test("cpu is used without a check", async () => {
    const choice = await chooseDevices("cpu", "no such folder");
    assert.deepEqual(choice, { devices: undefined, why: "it was requested" });
    assert.equal(describeDevices(choice), "on the CPU: it was requested");
  });
});

describe("A machine that cannot have CUDA", () => {
  test("is detected without a session, with the missing files and the fix", async () => {
    await using bare = await machine({});
    await using noDriver = await machine({ library: true, gpu: "nvidia-caps" });
    await using noLibrary = await machine({ gpu: "dxg" });
    const mac = { ...bare.places, platform: "darwin arm64" };
    assert.match((await findCudaProblem(mac))!.cause, /no CUDA for darwin arm64/);
    assert.match(
      (await findCudaProblem(bare.places))!.cause,
      /^libonnxruntime_providers_cuda\.so is missing, and no NVIDIA GPU/,
    );
    const driver = await findCudaProblem(noDriver.places);
    assert.deepEqual([driver!.cause, /driver.*--gpus all/.test(driver!.fix)], ["no NVIDIA GPU was found", true]);
    const library = await findCudaProblem(noLibrary.places);
    assert.equal(library!.cause, "libonnxruntime_providers_cuda.so is missing");
    assert.match(library!.fix, /CUDA 12 and cuDNN 9.*install\.js --onnxruntime-node-install=cuda12/);
    // Without a model no session is tried: the error would be about the folder.
    const auto = await chooseDevices("auto", "no such folder", bare.places);
    assert.deepEqual(auto, { devices: undefined, why: (await findCudaProblem(bare.places))!.cause });
    for (const device of ["cuda", "cuda:1", "cuda:all"]) {
      await assert.rejects(chooseDevices(device, "no such folder", bare.places), {
        code: "DEVICE_UNAVAILABLE",
        retryable: false,
        message: new RegExp(
          `^--device ${device}: .*providers_cuda\\.so is missing.*To fix it, .*; or use --device cpu$`,
        ),
      });
    }
  });

  test("is checked in the folder of onnxruntime", async () => {
    const { libraries, platform } = cudaPlaces();
    if (platform === LINUX) await access(join(libraries, "libonnxruntime.so.1"));
  });
});

describe("A machine that seems to have CUDA", { skip: `${process.platform} ${process.arch}` !== LINUX }, () => {
  test("must run a session; the error names what is missing", async () => {
    await using seeming = await machine({ library: true, gpu: "nvidia0" });
    // If this machine has a GPU and the provider, this test does not apply.
    if ((await findCudaProblem(cudaPlaces())) === undefined) return;
    const auto = await chooseDevices("auto", PROOF_MODEL_DIR, seeming.places);
    assert.equal(auto.devices, undefined);
    assert.match(auto.why, /^cuda:0: libonnxruntime_providers_\w+\.so is missing$/);
    await assert.rejects(chooseDevices("cuda:all", PROOF_MODEL_DIR, seeming.places), {
      code: "DEVICE_UNAVAILABLE",
      message: /^--device cuda:all: .*cuda:0: libonnxruntime_providers_\w+\.so is missing\. To fix it, install CUDA 12/,
    });
  });

  test("has a fix for the errors of drivers and loaders", () => {
    assert.match(cudaFixFor("libcudnn.so.9 is missing"), /CUDA 12 and cuDNN 9.*LD_LIBRARY_PATH/);
    assert.match(cudaFixFor("libcuda.so.1 is missing"), /driver/);
    assert.match(cudaFixFor("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"), /driver/);
    assert.match(cudaFixFor("CUDA failure 100: no CUDA-capable device is detected"), /driver.*--gpus all/);
    assert.match(cudaFixFor("CUDA failure 101: invalid device ordinal"), /an existing GPU/);
  });
});

describe("A session probe", () => {
  test("reports on how many devices the model ran", async () => {
    const request = { modelDir: PROOF_MODEL_DIR, dtype: "fp32", strict: true } as const;
    assert.deepEqual(await probeDevices({ ...request, devices: ["cpu", "cpu"] }, 60_000), { ran: 2 });
    const { ran, problem } = await probeDevices({ ...request, devices: ["cpu", "cuda:99", "cpu"] }, 60_000);
    assert.equal(ran, 1);
    assert.ok(problem !== undefined && problem !== "", "what it is depends on the machine");
  });

  test("ends after its time limit", async () => {
    assert.equal(await probeSession(PROOF_MODEL_DIR, "cpu", "fp32", 1), "no answer within 0.001 s");
  });

  test("reports a missing model", async () => {
    assert.match((await probeSession("no such folder", "cpu"))!, /found nothing at .*no such folder/);
  });
});
