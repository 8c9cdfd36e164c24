import pLimit from "p-limit";
import type { Fetcher } from "../../fetch/fetcher.ts";
import type { Engine, Prepared } from "../../inference/engine.ts";
import type { ImageDecoder } from "../../inference/preprocess/image/image-decoder.ts";
import type { PreparePool } from "../../inference/preprocess/prepare-pool.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { Lane } from "../../schemas/names.ts";
import type { StageTimes } from "../registration/stage-times.ts";
import { type ItemOutcome, type LabelItems, toItemError } from "../slice/label-items.ts";
import type { LoadedItem } from "../slice/loaded-job.ts";

type LabelerDeps = { engine: Engine; stages: StageTimes; lane: Lane };

/** Texts: one message to the tokenizers for all of them, then into the batcher together. */
export function textLabeler({ engine, pool, stages, lane }: LabelerDeps & { pool: PreparePool }): LabelItems {
  return async (items, { run, topK }, signal, onAnswers) => {
    const told = items.filter(hasWords);
    const texts = told.map(({ text }) => text);
    if (texts.length === 0) return items.map((item) => ({ error: wordless(item) }));
    const piece = await stages.time("prepare", texts.length, () => pool.tokenize(texts, { run, signal }));
    signal.throwIfAborted();
    const { ids, offsets, truncated, errors } = piece;
    const encoded = [...texts.keys()].filter((i) => !errors.has(i));
    const prepared: Prepared[] = encoded.map((i) => ({ tokens: ids.subarray(offsets[i], offsets[i + 1]) }));
    const labeled = (await engine.label(prepared, topK, signal, onAnswers, lane)).values();
    const outcomes = told.map((_, i): ItemOutcome => {
      const error = errors.get(i);
      if (error) return { error };
      const outcome = labeled.next().value!;
      return "labels" in outcome && truncated[i] ? { ...outcome, truncated: true } : outcome;
    });
    if (told.length === items.length) return outcomes;
    const found = outcomes.values();
    return items.map((item) => (hasWords(item) ? found.next().value! : { error: wordless(item) }));
  };
}

/**
 * Images: each by itself, as many at a time as `inFlight` says, so that decoded pixels never pile up before the model. Each lane has
 * permits of its own: one image must not wait for thousands.
 */
export function imageLabeler({
  engine,
  fetcher,
  decoder,
  stages,
  inFlight,
  lane,
}: LabelerDeps & { fetcher: Fetcher; decoder: ImageDecoder; inFlight: () => number }): LabelItems {
  const limit = pLimit(Math.ceil(inFlight()));
  // It grows with the batches that the model takes. Images that wait are admitted when it has grown.
  const adjust = () => {
    limit.concurrency = Math.ceil(inFlight());
  };
  const { recipe } = engine.model;
  return (items, { topK }, signal, onAnswers) => {
    const labelItem = async (item: LoadedItem): Promise<ItemOutcome> => {
      try {
        signal.throwIfAborted();
        const { image, data } = item;
        if (image === undefined && data === undefined) return { error: notA("an image's reference") };
        const bytes = data ?? (await stages.time("fetch", 1, () => fetcher.get(image!, signal)));
        const pixels = await stages.time("prepare", 1, () => decoder.decode(bytes, recipe!, signal));
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

/** Neither white space, nor a control (NUL), format (zero-width) or other character that is not shown. */
const SHOWN = /[^\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

function hasWords(item: LoadedItem): item is LoadedItem & { text: string } {
  return item.text !== undefined && SHOWN.test(item.text);
}

function wordless(item: LoadedItem): ItemError {
  if (item.text === undefined) return notA("a text");
  if (item.text === "") return { code: "EMPTY_TEXT", message: "the text is empty" };
  const isBlank = item.text.trim() === "";
  const message = `the text holds only ${isBlank ? "white space" : "white space, control and invisible characters"}`;
  return { code: "EMPTY_TEXT", message };
}

function notA(what: string): ItemError {
  return { code: "RECORD_INVALID", message: `this model labels ${what}, and the item has none` };
}
