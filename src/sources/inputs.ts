import { LabelmillError } from "../errors.ts";
import type { S3 } from "../storage/s3.ts";
import { parseS3Uri, type S3Place, s3Uri } from "../storage/s3-uri.ts";
import { byteOrder } from "./listing.ts";
import { isPrefix, isS3Uri, s3InputError } from "./s3-origin.ts";
import { quoted, type Source } from "./source.ts";

/** The most inputs of one run: each is described in the run's files. */
const MAX_INPUTS = 10_000;
/** Inputs that are opened at a time. */
const OPENED_AT_ONCE = 16;

/**
 * The inputs of texts with each `s3://` prefix replaced by the objects below it, in the byte order of their keys. Left out are those
 * that are not data: empty ones, folder markers, and names below the prefix with a segment that begins with `_` or `.`.
 *
 * @throws LabelmillError INPUT_EMPTY (a prefix without objects), STORE_FAILED (no such bucket, forbidden, an outage), USAGE
 * (more than 10,000 inputs)
 */
export async function expandInputs(inputs: readonly string[], s3: S3): Promise<string[]> {
  const all: string[] = [];
  for (const input of inputs) {
    const at = isS3Uri(input) ? parseS3Uri(input) : undefined;
    if (at === undefined || !isPrefix(at)) {
      all.push(input);
      continue;
    }
    const keys: string[] = [];
    for await (const key of dataBelow(at, s3)) {
      if (all.length + keys.length >= MAX_INPUTS) {
        const message = `expected at most ${MAX_INPUTS} inputs, there are more with ${quoted(input)}; name a longer prefix`;
        throw new LabelmillError("USAGE", message);
      }
      keys.push(key);
    }
    // Not every server lists in that order.
    all.push(...byteOrder(keys).map((key) => s3Uri({ bucket: at.bucket, key })));
    if (keys.length === 0) throw new LabelmillError("INPUT_EMPTY", `there are no objects below ${quoted(input)}`);
  }
  return all;
}

/**
 * Opens the inputs side by side, 16 at a time. The sources come in the inputs' order; the error is that of the first input, in that
 * order, that cannot be opened, and nothing more is opened after one.
 */
export async function openInputs(
  inputs: readonly string[],
  open: (input: string) => Promise<Source>,
): Promise<Source[]> {
  const sources: Source[] = [];
  const failures: { at: number; error: unknown }[] = [];
  let next = 0;
  const opener = async (): Promise<void> => {
    while (next < inputs.length && failures.length === 0) {
      const at = next++;
      try {
        sources[at] = await open(inputs[at]!);
      } catch (error) {
        failures.push({ at, error });
      }
    }
  };
  await Promise.all(Array.from({ length: OPENED_AT_ONCE }, opener));
  const [first] = failures.sort((left, right) => left.at - right.at);
  if (first !== undefined) throw first.error;
  return sources;
}

async function* dataBelow({ bucket, key: prefix }: S3Place, s3: S3): AsyncGenerator<string> {
  try {
    for await (const { key, size } of s3.list(bucket, prefix)) {
      const hidden = key
        .slice(prefix.length)
        .split("/")
        .some((part) => /^[_.]/.test(part));
      if (size > 0 && !hidden && !key.endsWith("/")) yield key;
    }
  } catch (error) {
    throw s3InputError(s3Uri({ bucket, key: prefix }), error);
  }
}
