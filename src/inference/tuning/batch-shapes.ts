import type { Shape } from "../sessions/model-session.ts";

/** The shapes that batches are padded to. */
export interface BatchShapes {
  /** The length that an item of this length takes in a batch. */
  lengthOf(length: number): number;
  /** The shape of a batch of `count` items, the longest of which has the length `longest`. */
  shapeOf(count: number, longest: number): Shape;
}

/** Every batch keeps its shape: on the CPU a new shape costs nothing, but padding does. */
export const EXACT_SHAPES: BatchShapes = {
  lengthOf: (length) => length,
  shapeOf: (count, longest) => ({ rows: count, length: longest }),
};

/**
 * A small set of shapes, each run once before the first item: a GPU selects its algorithms for each new shape, and the largest shape
 * determines the layout of its memory. A batch that fits into no shape keeps its own.
 */
export class FixedShapes implements BatchShapes {
  readonly #lengths: readonly number[];
  readonly #rows: readonly number[];

  /** @param lengths in rising order @param rows in rising order */
  constructor(lengths: readonly number[], rows: readonly number[]) {
    this.#lengths = lengths;
    this.#rows = rows;
  }

  lengthOf(length: number): number {
    return this.#lengths.find((each) => each >= length) ?? length;
  }

  shapeOf(count: number, longest: number): Shape {
    return { rows: this.#rows.find((each) => each >= count) ?? count, length: this.lengthOf(longest) };
  }
}
