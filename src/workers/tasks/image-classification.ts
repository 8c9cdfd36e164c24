import pLimit from "p-limit";
import type { Config } from "../../config.ts";
import type { Fetcher } from "../../fetch/fetcher.ts";
import type { Engine } from "../../inference/engine.ts";
import type { ImageDecoder } from "../../inference/preprocess/image/image-decoder.ts";
import type { Lane } from "../../schemas/names.ts";
import { toItemError } from "../items/item-error.ts";
import type { StageTimes } from "../registration/stage-times.ts";
import type { ItemOutcome, LabelItems } from "../slice/label-items.ts";
import type { LoadedItem } from "../slice/load-items.ts";
import type { TaskSupport } from "./task-support.ts";

/** Images in flight unless batches take more: enough to decode while the model runs. */
const MIN_IMAGES_IN_FLIGHT = 64;

export const imageClassification: TaskSupport = {
  budget: (config) => config.imageBudget,
  openLabeler: async ({ engine, stages, config, fetcher, decoder }) => {
    const inFlight = () => imagesInFlight(engine, config);
    return (lane) => imageLabeler({ engine, fetcher, decoder, stages, inFlight, lane });
  },
  itemCost: () => 1,
  // Fetching and decoding take long: with fewer images in hand than may be in flight, the model would wait for small
  // slices.
  minInHand: imagesInFlight,
};

function imagesInFlight({ appetite }: Engine, config: Config): number {
  return config.imagesInFlight ?? Math.max(MIN_IMAGES_IN_FLIGHT, appetite);
}

type ImageLabelerDeps = {
  engine: Engine;
  fetcher: Fetcher;
  decoder: ImageDecoder;
  stages: StageTimes;
  inFlight: () => number;
  lane: Lane;
};

/**
 * Fetches, decodes and labels each image on its own, at most `inFlight()` at a time, so that decoded pixels do not pile
 * up before the model. Each lane has its own limit: an interactive image must not wait for thousands of others.
 */
function imageLabeler({ engine, fetcher, decoder, stages, inFlight, lane }: ImageLabelerDeps): LabelItems {
  const limit = pLimit(Math.ceil(inFlight()));
  // The limit grows with the batches that the model takes. Waiting images start when it has grown.
  const adjust = () => {
    limit.concurrency = Math.ceil(inFlight());
  };
  const { recipe } = engine.model;
  return (items, { topK }, signal, onAnswers) => {
    const labelItem = async ({ image, data, object }: LoadedItem): Promise<ItemOutcome> => {
      try {
        signal.throwIfAborted();
        if (image === undefined && data === undefined) return { error: NO_IMAGE };
        const bytes =
          data ?? (await stages.time("fetch", 1, () => fetcher.get(image!, signal, { what: "an image", object })));
        const pixels = await stages.time("prepare", 1, () => decoder.decode(bytes, recipe!, signal, lane));
        const [outcome] = await engine.label([{ pixels }], topK, signal, onAnswers, lane);
        return outcome!;
      } catch (error) {
        const itemError = toItemError(error);
        onAnswers?.(1);
        return { error: itemError };
      } finally {
        adjust();
      }
    };
    adjust();
    return limit.map(items, labelItem);
  };
}

const NO_IMAGE = {
  code: "RECORD_INVALID",
  message: "this model labels images: expected an item with an image, got one without",
} as const;
