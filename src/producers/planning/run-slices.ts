import type { RunFile } from "../../schemas/run.ts";
import { cutSlices, type Place, type Slice } from "../../sources/slices.ts";
import type { Source } from "../../sources/source.ts";

/** Maximum bytes of a slice whose items travel in its job, whatever the maximum of other slices is. */
const INLINE_BYTES = 1_000_000;

/** The slices of a run, from the first one or from a place on: the same at each call. @param sources its inputs, in their order */
export function slicesOf(
  { spec, inputs }: RunFile,
  sources: readonly Source[],
): (from?: Place) => AsyncIterable<Slice> {
  const { sliceItems, sliceBytes, sample, limit } = spec;
  const size = { items: sliceItems, bytes: sliceBytes, inlineBytes: Math.min(sliceBytes, INLINE_BYTES) };
  return (from) =>
    cutSlices(sources, {
      size,
      travels: (input) => inputs[input]!.travels,
      idName: (input) => inputs[input]!.idName,
      ...(sample === undefined ? {} : { sample }),
      ...(limit === undefined ? {} : { limit }),
      ...(from ? { from } : {}),
    });
}
