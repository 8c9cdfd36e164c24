import { type Expansion, expandInputs } from "../../../src/sources/discover/expand-inputs.ts";
import type { S3 } from "../../../src/storage/s3/s3.ts";

/** The names of the inputs that arguments expand to, in order. */
export async function namesOf(inputs: readonly string[], s3: S3, how: Omit<Expansion, "s3"> = {}): Promise<string[]> {
  return (await expandInputs(inputs, { s3, ...how })).map(({ name }) => name);
}
