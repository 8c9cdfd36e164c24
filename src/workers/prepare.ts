import type { Fetcher } from "../fetch/fetcher.ts";
import type { Engine, Prepared } from "../inference/engine.ts";
import { decodeImage } from "../inference/image.ts";
import type { PreparePool } from "../inference/prepare-pool.ts";
import type { Item, ItemError } from "../schemas/item.ts";
import type { Lane } from "../schemas/names.ts";
import { type ItemOutcome, type LabelItems, toItemError } from "./label-items.ts";

/** Texts: one message to the tokenizers for all of them, then into the batcher together. */
export function textLabeler(engine: Engine, pool: PreparePool, lane: Lane): LabelItems {
  return async (items, topK, signal, onAnswers) => {
    const outcomes: ItemOutcome[] = items.map((item) => ({ error: wordless(item) }));
    const told = items.flatMap((item, place) => (item.text?.trim() ? [{ place, text: item.text }] : []));
    if (told.length === 0) return outcomes;
    const { ids, offsets, truncated } = await pool.tokenize(told.map(({ text }) => text));
    signal.throwIfAborted();
    const prepared: Prepared[] = told.map((_, i) => ({ tokens: ids.subarray(offsets[i], offsets[i + 1]) }));
    const labeled = await engine.label(prepared, topK, signal, onAnswers, lane);
    told.forEach(({ place }, i) => {
      const outcome = labeled[i]!;
      outcomes[place] = "labels" in outcome && truncated[i] ? { ...outcome, truncated: true } : outcome;
    });
    return outcomes;
  };
}

/**
 * Images: each by itself, as many at a time as `inFlight`, so that decoded pixels never pile up before the model. Each lane has
 * permits of its own: one image must not wait for thousands.
 */
export function imageLabeler(engine: Engine, fetcher: Fetcher, inFlight: number, lane: Lane): LabelItems {
  const permits = new Permits(inFlight);
  return (items, topK, signal, onAnswers) =>
    Promise.all(
      items.map(async (item): Promise<ItemOutcome> => {
        await permits.acquire();
        try {
          signal.throwIfAborted();
          if (item.image === undefined) return { error: notA("an image's reference") };
          const bytes = await fetcher.get(item.image, signal);
          const pixels = await decodeImage(bytes, engine.model.recipe!);
          const [outcome] = await engine.label([{ pixels }], topK, signal, onAnswers, lane);
          return outcome!;
        } catch (error) {
          const itemError = toItemError(error);
          onAnswers?.(1);
          return { error: itemError };
        } finally {
          permits.release();
        }
      }),
    );
}

function wordless(item: Item): ItemError {
  if (item.text === undefined) return notA("a text");
  return { code: "EMPTY_TEXT", message: item.text === "" ? "the text is empty" : "the text holds only white space" };
}

function notA(what: string): ItemError {
  return { code: "RECORD_INVALID", message: `this model labels ${what}, and the item has none` };
}

class Permits {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async acquire(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((admitted) => this.#waiting.push(admitted));
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}
