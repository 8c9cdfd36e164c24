import { dirname } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { readRegular } from "../../regular-file.ts";
import { indexOf, kindOf } from "../devices/device.ts";
import type { InputKind, ModelInputOf, ModelSession, OpenSession, SessionSetup } from "../sessions/model-session.ts";
import { EXECUTION_PROVIDERS } from "./execution-providers.ts";
import { fusePreprocessing } from "./fuse-preprocessing.ts";
import { checkPlacement, FirstRunProfile } from "./node-placement.ts";

/** Errors are thrown, so the library need not log them to standard error too. */
const FATAL_ONLY = 4;

/** Opens the model in onnxruntime, on the device of the setup and nowhere else. An image model takes pixels. */
export const openOnnxSession: OpenSession = async (setup): Promise<ModelSession> => {
  await using opening = new AsyncDisposableStack();
  const provider = EXECUTION_PROVIDERS[kindOf(setup.device)];
  let firstRun = provider.fallsBackToCpu ? opening.use(await FirstRunProfile.open()) : undefined;
  const session = await createSession(setup, sessionOptions(setup, firstRun?.prefix));
  const rest = opening.move();
  return {
    inputs: session.inputMetadata.map((input) => ({
      name: input.name,
      type: input.isTensor ? input.type : "no tensor",
    })),
    outputs: session.outputNames,
    run: async (feeds, output) => {
      const tensors = Object.fromEntries(feeds.map(({ name, data, dims }) => [name, new Tensor(data, dims)]));
      const results = await session.run(tensors, [output], { logSeverityLevel: FATAL_ONLY });
      if (firstRun) {
        session.endProfiling();
        checkPlacement(await firstRun.read(), provider.name);
        firstRun = undefined;
        await rest.disposeAsync();
      }
      const { type, data, dims } = results[output]!;
      return { type, data, dims };
    },
    release: async () => {
      await session.release();
      await rest.disposeAsync();
    },
  };
};

/** What onnxruntime loads for each kind of input: the path of the ONNX file, or its bytes with the preprocessing in the graph. */
const SOURCES: { [K in InputKind]: (file: string, input: ModelInputOf<K>) => Promise<string | Uint8Array> } = {
  text: async (file) => file,
  image: async (file, { recipe }) => fusePreprocessing(await readRegular(file), recipe),
};

/** Keeps no reference to the source: onnxruntime makes its own copy. */
async function createSession<K extends InputKind>(
  setup: SessionSetup & { input: ModelInputOf<K> },
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  const source = await SOURCES[setup.input.kind as K](setup.modelFile, setup.input);
  return typeof source === "string"
    ? InferenceSession.create(source, options)
    : InferenceSession.create(source, options);
}

/**
 * The options of a session: one execution provider and, on a GPU, its index. Node.js passes no other CUDA option to onnxruntime.
 * @param profile the beginning of the path of the profile that onnxruntime writes, until profiling is ended. Default: no profile
 */
export function sessionOptions(
  { modelFile, device, intraOpThreads, strict = false }: SessionSetup,
  profile?: string,
): InferenceSession.SessionOptions {
  const provider = EXECUTION_PROVIDERS[kindOf(device)];
  return {
    executionProviders: [provider.config(indexOf(device))],
    intraOpNumThreads: intraOpThreads,
    interOpNumThreads: 1,
    logSeverityLevel: FATAL_ONLY,
    ...(profile !== undefined && { enableProfiling: true, profileFilePrefix: profile }),
    extra: {
      session: {
        // A model that is loaded from bytes does not know the folder of its external weights.
        model_external_initializers_file_folder_path: dirname(modelFile),
        // For the model that proves a GPU, which needs no CPU. Other models do: see checkPlacement.
        ...(strict && provider.fallsBackToCpu && { disable_cpu_ep_fallback: "1" }),
      },
    },
  };
}
