import { SIDECAR_ENDING } from "../schemas/enrichment/sidecar.ts";
import {
  FILES_FILE,
  isDataFileKey,
  isPartKey,
  JOURNAL_FILE,
  LOCK_FILE,
  MANIFEST_FILE,
  PARTS_FILE,
  RUN_FILE,
  SUCCESS_FILE,
} from "../schemas/names.ts";
import { parseS3Uri, type S3Place } from "../storage/s3/uri.ts";

const FIXED_NAMES: ReadonlySet<string> = new Set([
  ...[RUN_FILE, PARTS_FILE, FILES_FILE, MANIFEST_FILE, SUCCESS_FILE, LOCK_FILE, JOURNAL_FILE],
]);

/** The outputs on S3 that this process writes to. */
export class OwnOutputs {
  readonly #outputs: readonly S3Place[];

  /** @param uris the URIs of stores. Those in folders have no events */
  constructor(uris: readonly string[]) {
    this.#outputs = uris.filter((uri) => /^s3:/i.test(uri)).map(parseS3Uri);
  }

  /** Whether an object, or all objects with a prefix, are in one of the outputs. */
  has(bucket: string, key: string): boolean {
    return this.#outputs.some((output) => output.bucket === bucket && key.startsWith(output.key));
  }
}

/**
 * Whether only labelmill writes files with this name: sidecars, parts and the records of runs. Other servers may write them into a
 * bucket of this one, and labels of labels would never end.
 */
export function isOwnName(key: string): boolean {
  const name = key.slice(key.lastIndexOf("/") + 1);
  return (
    name.endsWith(SIDECAR_ENDING) ||
    isPartKey(name) ||
    isDataFileKey(name) ||
    /^single-[0-9a-f]{16}\.jsonl$/.test(name) ||
    FIXED_NAMES.has(name)
  );
}
