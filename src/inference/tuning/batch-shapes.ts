import type { Shape } from "../sessions/model-session.ts";

/** What a batch is padded to. */
export interface Shapes {
  /** The length that an item of this length takes in a batch. */
  lengthOf(length: number): number;
  /** The shape that a batch of `count` items runs in, the longest of them of this length. */
  shapeOf(count: number, longest: number): Shape;
}

/** Every batch as it is: on the CPU a new shape costs nothing, and padding does. */
export const EXACT_SHAPES: Shapes = {
  lengthOf: (length) => length,
  shapeOf: (count, longest) => ({ rows: count, length: longest }),
};

/**
 * A small set of shapes, each run once before the first item comes: a GPU picks its ways of computing anew for each new shape, and
 * its memory is laid out by the largest. `lengths` and `rows` in rising order; a batch that fits none runs as it is.
 */
export class FixedShapes implements Shapes {
  readonly #lengths: readonly number[];
  readonly #rows: readonly number[];

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
