import type { Engine, Prepared } from "../../inference/engine.ts";
import { PreparePool } from "../../inference/preprocess/prepare-pool.ts";
import type { ItemError } from "../../schemas/item.ts";
import type { Lane } from "../../schemas/names.ts";
import type { StageTimes } from "../registration/stage-times.ts";
import type { ItemOutcome, LabelItems } from "../slice/label-items.ts";
import type { LoadedItem } from "../slice/load-items.ts";
import type { TaskSupport } from "./task-support.ts";

/** Tokens of a text until the first texts are labeled. */
const TYPICAL_TOKENS = 16;
/** Also on one core: one of them is left to interactive texts while these keep coming. */
const TOKENIZER_THREADS = 2;

export const textClassification: TaskSupport = {
  budget: (config) => config.textBudget,
  openLabeler: async ({ engine, stages, config }, opening) => {
    const { textTimeoutMs: textMs } = config;
    const pool = await PreparePool.start({ modelDir: engine.model.dir, threads: TOKENIZER_THREADS, textMs });
    opening.defer(() => pool.close());
    return (lane) => textLabeler({ engine, pool, stages, lane });
  },
  itemCost: ({ stats }) => (stats.items > 0 ? stats.realCost / stats.items : TYPICAL_TOKENS),
  minInHand: () => 0,
};

type TextLabelerDeps = { engine: Engine; pool: PreparePool; stages: StageTimes; lane: Lane };

/** Tokenizes all texts in one message to the pool, then adds them to the batcher together. */
function textLabeler({ engine, pool, stages, lane }: TextLabelerDeps): LabelItems {
  return async (items, { run, topK }, signal, onAnswers) => {
    const readable = items.filter(hasVisibleText);
    const texts = readable.map(({ text }) => text);
    if (texts.length === 0) return items.map((item) => ({ error: noVisibleText(item) }));
    const piece = await stages.time("prepare", texts.length, () => pool.tokenize(texts, { run, signal, lane }));
    signal.throwIfAborted();
    const { ids, offsets, truncated, errors } = piece;
    const encoded = [...texts.keys()].filter((i) => !errors.has(i));
    const prepared: Prepared[] = encoded.map((i) => ({ tokens: ids.subarray(offsets[i], offsets[i + 1]) }));
    const labeled = (await engine.label(prepared, topK, signal, onAnswers, lane)).values();
    const outcomes = readable.map((_, i): ItemOutcome => {
      const error = errors.get(i);
      if (error) return { error };
      const outcome = labeled.next().value!;
      return "labels" in outcome && truncated[i] ? { ...outcome, truncated: true } : outcome;
    });
    if (readable.length === items.length) return outcomes;
    const rest = outcomes.values();
    return items.map((item) => (hasVisibleText(item) ? rest.next().value! : { error: noVisibleText(item) }));
  };
}

/** Any character but white space, control (NUL), format (zero-width) and other invisible ones. */
const VISIBLE = /[^\s\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]/u;

function hasVisibleText(item: LoadedItem): item is LoadedItem & { text: string } {
  return item.text !== undefined && VISIBLE.test(item.text);
}

function noVisibleText({ text }: LoadedItem): ItemError {
  if (text === undefined)
    return {
      code: "RECORD_INVALID",
      message: "this model labels texts: expected an item with a text, got one without",
    };
  if (text === "") return { code: "EMPTY_TEXT", message: "the text is empty" };
  const content = text.trim() === "" ? "white space" : "white space, control and invisible characters";
  return { code: "EMPTY_TEXT", message: `the text contains only ${content}` };
}
