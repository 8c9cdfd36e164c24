import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Config } from "../../config.ts";
import { LabelmillError } from "../../errors.ts";
import { asPrefix } from "../../producers/runs/output-location.ts";
import { isS3 } from "../../storage/s3/uri.ts";

/** The folder of a server that has no other places, in the current folder. */
const DATA_FOLDER = "labelmill-data";
const DEFAULT_STATE = join(DATA_FOLDER, "state");

/** Where a server keeps its data. URIs end in `/`. */
export type Places = { output: string; state: string; redisFolder: string };

/**
 * The places of the options, or the defaults of a server with its own Redis.
 * @throws LabelmillError USAGE if a server with a shared Redis does not name its places
 */
export function placesOf(out: string | undefined, { state, redisUrl }: Config): Places {
  if (redisUrl && (out === undefined || state === undefined))
    throw new LabelmillError(
      "USAGE",
      `expected --out and --state beside REDIS_URL, such as --out s3://BUCKET/labels/ --state s3://BUCKET/state/; got no ${out === undefined ? "--out" : "--state"}`,
    );
  return {
    output: uriOf(out ?? join(DATA_FOLDER, "output")),
    state: uriOf(state ?? DEFAULT_STATE),
    redisFolder: resolve(state !== undefined && isS3(state) ? DATA_FOLDER : (state ?? DEFAULT_STATE), "redis"),
  };
}

/** The state store of the settings, or the one of a server without other places. */
export function stateOf({ state, redisUrl }: Config): string {
  if (!redisUrl || state !== undefined) return uriOf(state ?? DEFAULT_STATE);
  throw new LabelmillError("USAGE", "expected --state beside REDIS_URL: the state store of the server; got no --state");
}

function uriOf(place: string): string {
  return isS3(place) ? asPrefix(place) : pathToFileURL(`${resolve(place)}/`).href;
}
