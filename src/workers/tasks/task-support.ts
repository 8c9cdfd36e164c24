import type { Config } from "../../config.ts";
import type { Fetcher } from "../../fetch/fetcher.ts";
import type { Engine } from "../../inference/engine.ts";
import type { ImageDecoder } from "../../inference/preprocess/image/image-decoder.ts";
import type { Lane } from "../../schemas/names.ts";
import type { StageTimes } from "../registration/stage-times.ts";
import type { LabelItems } from "../slice/label-items.ts";

/** What the labeler of a model works with. */
export type LabelerDeps = {
  engine: Engine;
  stages: StageTimes;
  config: Config;
  fetcher: Fetcher;
  decoder: ImageDecoder;
};

/** What a worker needs to know of a task to serve its models. */
export type TaskSupport = {
  /** The configured size of a batch: padded tokens, or images. Undefined: it is found while the model runs. */
  budget(config: Config): number | undefined;
  /** Opens the preparation of items, and returns the labeler of each lane. `opening` closes what is opened. */
  openLabeler(deps: LabelerDeps, opening: AsyncDisposableStack): Promise<(lane: Lane) => LabelItems>;
  /** Mean cost of an item, in the unit of the budget. */
  itemCost(engine: Engine): number;
  /** The least number of items that a queue has in hand, whatever the batches need. */
  minInHand(engine: Engine, config: Config): number;
};
