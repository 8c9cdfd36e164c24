import { type Collator, IMAGE_ELEMENTS, imageCollator, TEXT_INPUTS, textCollator } from "../batching/collate.ts";
import type { Packable } from "./batch-buffer.ts";
import type { InputInfo, InputKind, ModelInput, ModelInputOf, Shape } from "./model-session.ts";

/** What depends on the kind of a model's input. */
type InputAdapter<I> = {
  /** The element type of all inputs. */
  elements: string;
  /** The input names that the model may have. @param names those that it has */
  allowed: (names: readonly string[]) => readonly string[];
  collator: (names: readonly string[], input: I) => Collator;
  /** Two items, of two lengths if items have lengths, and the shape of their batch: a model with fixed shapes fails on them. */
  probe: (input: I) => { items: Packable[]; shape: Shape };
};

const ADAPTERS: { [K in InputKind]: InputAdapter<ModelInputOf<K>> } = {
  text: {
    elements: "int64",
    allowed: () => TEXT_INPUTS,
    collator: (names, { padId, paddingSide }) => textCollator(names, padId, paddingSide),
    probe: ({ padId }) => ({
      items: [Int32Array.of(padId), Int32Array.of(padId, padId)],
      shape: { rows: 2, length: 2 },
    }),
  },
  image: {
    elements: IMAGE_ELEMENTS,
    allowed: (names) => names.slice(0, 1),
    collator: ([name], { recipe }) => imageCollator(name!, recipe),
    probe: ({ recipe }) => {
      const size = recipe.width * recipe.height * 3;
      return { items: [new Uint8Array(size), new Uint8Array(size)], shape: { rows: 2, length: 1 } };
    },
  },
};

/** @throws Error if the model has other inputs than its kind has */
export function makeCollator(inputs: readonly InputInfo[], input: ModelInput): Collator {
  const { elements, allowed, collator } = adapterOf(input);
  const names = inputs.map(({ name }) => name);
  const expected = allowed(names);
  for (const { name, type } of inputs) {
    if (!expected.includes(name) || type !== elements)
      throw new Error(`inputs: expected ${expected.join(", ")} (${elements}), got ${name} (${type})`);
  }
  return collator(names, input);
}

/** A small batch that shows whether a model runs, and the shape that it is padded to. */
export function probeBatch(input: ModelInput): { items: Packable[]; shape: Shape } {
  return adapterOf(input).probe(input);
}

function adapterOf<K extends InputKind>(input: ModelInputOf<K>): InputAdapter<ModelInputOf<K>> {
  return ADAPTERS[input.kind as K];
}
