import { dirname } from "node:path";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { readRegular } from "../../regular-file.ts";
import type { Device, ModelSession, OpenSession, SessionSetup } from "../sessions/model-session.ts";
import { fusePreprocessing } from "./fuse-preprocessing.ts";
import { checkPlacement, FirstRun } from "./node-placement.ts";

/** What the model gets wrong is told by its outcome, so the library need not write it to standard error too. */
const FATAL_ONLY = 4;

/** The model in onnxruntime, on the device that is asked for and nowhere else. An image model takes pixels (fuse.ts). */
export const openOnnxSession: OpenSession = async (setup): Promise<ModelSession> => {
  await using opening = new AsyncDisposableStack();
  let firstRun = setup.device === "cpu" ? undefined : opening.use(await FirstRun.open());
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
        checkPlacement(await firstRun.read());
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

/** Nothing keeps an image model's bytes once they are fused, nor the fused ones once they are loaded: the runtime makes its own. */
async function createSession(
  { modelFile, input }: SessionSetup,
  options: InferenceSession.SessionOptions,
): Promise<InferenceSession> {
  if (input.kind === "text") return InferenceSession.create(modelFile, options);
  return InferenceSession.create(fusePreprocessing(await readRegular(modelFile), input.recipe), options);
}

/**
 * What onnxruntime is asked for: one provider, and on a GPU which one; nothing else of CUDA's options reaches it from Node.
 * @param profile what the name of a file begins with in which it notes its runs, until it is told to stop
 */
export function sessionOptions(
  { modelFile, device, intraOpThreads, strict = false }: SessionSetup,
  profile?: string,
): InferenceSession.SessionOptions {
  return {
    executionProviders: [providerOf(device)],
    intraOpNumThreads: intraOpThreads,
    interOpNumThreads: 1,
    logSeverityLevel: FATAL_ONLY,
    ...(profile !== undefined && { enableProfiling: true, profileFilePrefix: profile }),
    extra: {
      session: {
        // A model that comes as bytes would not know where its weights are, if they lie in a file of their own.
        model_external_initializers_file_folder_path: dirname(modelFile),
        // Proof of a GPU by a model that needs no CPU. Real ones do: see checkPlacement.
        ...(strict && device !== "cpu" && { disable_cpu_ep_fallback: "1" }),
      },
    },
  };
}

function providerOf(device: Device): InferenceSession.ExecutionProviderConfig {
  return device === "cpu" ? "cpu" : { name: "cuda", deviceId: Number(device.slice("cuda:".length)) };
}
