import type { Shape } from "../sessions/model-session.ts";

/** The shapes that batches are padded to. */
export interface BatchShapes {
  /** The length that an item of this length takes in a batch. */
  lengthOf(length: number): number;
  /** The shape of a batch of `count` items, the longest of which has the length `longest`. */
  shapeOf(count: number, longest: number): Shape;
  /** The largest cost of a batch, at most `cost`, whose first item has this length. It causes no shape that is not warmed up. */
  largestWithin(cost: number, length: number): number;
}

/** Every batch keeps its shape: on the CPU a new shape costs nothing, but padding does. */
export const EXACT_SHAPES: BatchShapes = {
  lengthOf: (length) => length,
  shapeOf: (count, longest) => ({ rows: count, length: longest }),
  largestWithin: (cost) => cost,
};

/**
 * A small set of shapes, each run once before the first item: a GPU selects its algorithms for each new shape, and the largest shape
 * determines the layout of its memory. A batch that fits into no shape keeps its own.
 */
export class FixedShapes implements BatchShapes {
  readonly #lengths: readonly number[];
  readonly #rows: readonly number[];
  readonly #longestWarmed: number;

  /**
   * @param lengths in rising order
   * @param rows in rising order
   * @param longestWarmed longer shapes are not warmed up
   */
  constructor(lengths: readonly number[], rows: readonly number[], longestWarmed = Number.POSITIVE_INFINITY) {
    this.#lengths = lengths;
    this.#rows = rows;
    this.#longestWarmed = longestWarmed;
  }

  lengthOf(length: number): number {
    return this.#lengths.find((each) => each >= length) ?? length;
  }

  shapeOf(count: number, longest: number): Shape {
    return { rows: this.#rows.find((each) => each >= count) ?? count, length: this.lengthOf(longest) };
  }

  /** A batch of at least the fewest rows. Without a limit where no shape is warmed up: the usual budget has the fewest shapes. */
  largestWithin(cost: number, length: number): number {
    const padded = this.lengthOf(length);
    if (padded > this.#longestWarmed) return Number.POSITIVE_INFINITY;
    const rows = this.#rows.findLast((each) => each * padded <= cost) ?? this.#rows[0]!;
    return rows * padded;
  }
}
