import assert from "node:assert/strict";
import { access, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { Device } from "../../../../src/inference/devices/device.ts";
import { Engine } from "../../../../src/inference/engine.ts";
import { loadModel } from "../../../../src/inference/model/model.ts";
import { EXECUTION_PROVIDERS } from "../../../../src/inference/onnx/execution-providers.ts";
import { checkPlacement, FirstRunProfile } from "../../../../src/inference/onnx/node-placement.ts";
import { openOnnxSession, sessionOptions } from "../../../../src/inference/onnx/session.ts";
import type { SessionSetup } from "../../../../src/inference/sessions/model-session.ts";
import { loadBuiltIn } from "../../../../src/models/built-in.ts";
import {
  FLOAT,
  field,
  graphProto,
  INT64,
  intAttribute,
  node,
  tensor,
  valueInfo,
  writeTextModel,
} from "../../../helpers/models/onnx.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

const FLOAT16 = 10;
const CUDA = EXECUTION_PROVIDERS.cuda.name;

function setup(device: Device, changes: Partial<SessionSetup> = {}): SessionSetup {
  const modelFile = join(tmpdir(), "models", "model.onnx");
  return { modelFile, input: { kind: "text", padId: 0 }, labels: 2, device, intraOpThreads: 3, warmUp: [], ...changes };
}

describe("The options of a session", () => {
  const common = {
    intraOpNumThreads: 3,
    interOpNumThreads: 1,
    logSeverityLevel: 4,
    extra: { session: { model_external_initializers_file_folder_path: join(tmpdir(), "models") } },
  };

  test("name one provider, and the GPU by its index", () => {
    assert.deepEqual(sessionOptions(setup("cpu")), { ...common, executionProviders: ["cpu"] });
    const providers = sessionOptions(setup("cuda:3")).executionProviders;
    assert.deepEqual(providers, [{ name: "cuda", deviceId: 3 }]);
    assert.deepEqual(sessionOptions(setup("cuda:3")), { ...common, executionProviders: providers });
  });

  test("forbid the CPU only for the model that proves a GPU", () => {
    const configOf = (options: InferenceSession.SessionOptions) => options.extra!.session as Record<string, string>;
    assert.equal(configOf(sessionOptions(setup("cuda:0", { strict: true }))).disable_cpu_ep_fallback, "1");
    assert.equal(configOf(sessionOptions(setup("cuda:0"))).disable_cpu_ep_fallback, undefined);
    assert.equal(configOf(sessionOptions(setup("cpu", { strict: true }))).disable_cpu_ep_fallback, undefined);
  });

  test("enable a profile if a path for it is given", () => {
    const { enableProfiling, profileFilePrefix } = sessionOptions(setup("cuda:0"), "somewhere/run");
    assert.deepEqual([enableProfiling, profileFilePrefix], [true, "somewhere/run"]);
  });
});

describe("Where a model's nodes run", () => {
  test("is read from onnxruntime's profile: arithmetic must run on the GPU, the computation of shapes need not", async () => {
    const { modelFile } = await loadBuiltIn("tiny-sentiment");
    const profile = await profileOf(modelFile);
    // Here all nodes ran on the CPU, according to the profile.
    assert.throws(
      () => checkPlacement(profile, CUDA),
      /on the GPU, got (\d+) of \1 \(FusedGemm, .*MatMul.*\) on the CPU; .*--dtype/,
    );

    const moved = move(profile, (operator) => !["Shape", "Gather", "Concat", "Unsqueeze"].includes(operator));
    checkPlacement(moved, CUDA);
    const one = move(profile, (operator) => operator !== "Gemm");
    assert.throws(() => checkPlacement(one, CUDA), /got 1 of \d+ \(Gemm\) on the CPU/);
    const none = JSON.stringify(JSON.parse(profile).filter(({ args }: Event) => args?.op_name === "Add"));
    assert.throws(() => checkPlacement(none, CUDA), /on the GPU, got no nodes there/);
    assert.throws(() => checkPlacement("[{", CUDA), SyntaxError);
  });
});

test("A session that cannot be opened leaves nothing behind", async (t) => {
  await using folder = await temporaryFolder();
  const before = process.env.TMPDIR;
  t.after(() => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  });
  process.env.TMPDIR = folder.path;
  const { modelFile } = await loadBuiltIn("tiny-sentiment");
  await assert.rejects(openOnnxSession(setup("cuda:99", { modelFile })));
  assert.deepEqual(await readdir(folder.path), []);
});

test("Logits in half precision are read correctly", async () => {
  await using folder = await temporaryFolder();
  await writeTextModel(folder.path, { weights: [0, 0], bias: [0, 0] });
  await writeFile(join(folder.path, "onnx", "model.onnx"), halfModel());
  const model = await loadModel(folder.path);
  await using engine = await Engine.start({ model, cores: 1, threads: 1, budget: 64 });
  const [outcome] = await engine.label([{ tokens: Int32Array.of(1, 2) }], 2);
  assert.ok(outcome && "labels" in outcome);
  const [a, b] = outcome.labels;
  assert.deepEqual([a!.label, b!.label], ["L0", "L1"]);
  // 1.5 and −1.5, which float16 represents exactly.
  assert.ok(Math.abs(a!.score - 1 / (1 + Math.exp(-3))) < 1e-9, String(a!.score));
});

type Event = { cat: string; args?: { op_name?: string; provider?: string } };

async function profileOf(modelFile: string): Promise<string> {
  await using firstRun = await FirstRunProfile.open();
  const session = await InferenceSession.create(
    modelFile,
    sessionOptions(setup("cpu", { modelFile }), firstRun.prefix),
  );
  const tensor = () => new Tensor(new BigInt64Array(8).fill(1n), [2, 4]);
  await session.run(Object.fromEntries(session.inputNames.map((name) => [name, tensor()])));
  session.endProfiling();
  const profile = await firstRun.read();
  await session.release();
  await firstRun[Symbol.asyncDispose]();
  await assert.rejects(access(dirname(firstRun.prefix)), { code: "ENOENT" }, "the folder is deleted");
  return profile;
}

/** The same profile with some of the operators on the GPU. */
function move(profile: string, isMoved: (operator: string) => boolean): string {
  const events = JSON.parse(profile) as Event[];
  for (const { args } of events)
    if (args?.provider !== undefined && isMoved(args.op_name ?? "")) args.provider = "CUDAExecutionProvider";
  return JSON.stringify(events);
}

/** Half the sum of a text's tokens, and its negative, cast to float16. */
function halfModel(): Buffer {
  const nodes = [
    node("Cast", ["input_ids"], ["values"], [intAttribute("to", FLOAT)]),
    node("ReduceSum", ["values", "axes"], ["sum"], [intAttribute("keepdims", 1)]),
    node("Mul", ["sum", "weights"], ["wide"]),
    node("Cast", ["wide"], ["logits"], [intAttribute("to", FLOAT16)]),
  ];
  const constants = [tensor("axes", [1], BigInt64Array.of(1n)), tensor("weights", [1, 2], Float32Array.of(0.5, -0.5))];
  const inputs = [valueInfo("input_ids", INT64, ["batch", "sequence"])];
  const graph = graphProto("half", nodes, constants, inputs, [valueInfo("logits", FLOAT16, ["batch", 2])]);
  return Buffer.concat([field(1, 8), field(7, graph), field(8, Buffer.concat([field(1, ""), field(2, 13)]))]);
}
