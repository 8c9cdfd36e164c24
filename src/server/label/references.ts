import { LabelmillError } from "../../errors.ts";
import { HiddenStores } from "../../producers/runs/hidden-stores.ts";
import { isS3, parseS3Uri, type S3Place } from "../../storage/s3/uri.ts";
import type { ServerDeps } from "../deps.ts";
import { Problem } from "../problems.ts";

/** The stores of a server, which no request may name. */
export function hiddenStores({ store, state }: Pick<ServerDeps, "store" | "state">): HiddenStores {
  return new HiddenStores([store.uri, state.uri]);
}

/**
 * Refuses references to what the server stores: workers were granted the output, which has the uploads and rows of other callers. Every
 * other reference is for the worker to open or refuse, as a row in error.
 * @throws Problem NOT_GRANTED, with the number of the item
 */
export async function checkReferences(
  references: readonly { number: number; reference: string }[],
  hidden: HiddenStores,
) {
  for (const { number, reference } of references)
    try {
      if (isS3(reference)) {
        const at = placeOf(reference);
        if (at) hidden.checkS3(at);
      } else if (/^file:/i.test(reference)) await hidden.checkFile(reference);
    } catch (error) {
      if (!(error instanceof LabelmillError)) throw error;
      if (error.code === "NOT_GRANTED") throw new Problem(422, "NOT_GRANTED", `items.${number}: ${error.message}`);
    }
}

/** Undefined for what is not an address on S3: the worker says why. */
function placeOf(reference: string): S3Place | undefined {
  try {
    return parseS3Uri(reference);
  } catch {
    return undefined;
  }
}
