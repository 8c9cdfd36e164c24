import { LabelmillError } from "../../errors.ts";
import type { ObjectVersion } from "../../schemas/enrichment/object.ts";
import { type Sidecar, SidecarSchema } from "../../schemas/enrichment/sidecar.ts";
import type { Item } from "../../schemas/item.ts";
import type { Job } from "../../schemas/job.ts";
import type { Row } from "../../schemas/row.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { isNewer } from "./newer.ts";

/** A longer object is no sidecar. One has at most some kilobytes for each of 1,000 labels. */
const MAX_SIDECAR_BYTES = 10_000_000;
/** A try fails only when another worker has written the sidecar at the same time. */
const MAX_TRIES = 20;

/** The content of the sidecar of an item. */
export function sidecarOf({ run, model }: Pick<Job, "run" | "model">, item: Item, row: Row, at: Date): Sidecar {
  const { input: _input, source: _source, ...result } = row;
  const about = { model: { id: model.id, digest: model.digest }, object: item.object ?? {} };
  return { v: 1, ...result, ...about, run, labeledAt: at.toISOString() };
}

/**
 * Writes a sidecar unless the one that exists is newer, however many workers write it at the same time.
 * @param current returns the version that the object has now
 * @throws LabelmillError OUTPUT_FOREIGN if the key has another object, which stays; STORE_FAILED
 */
export async function writeSidecar(
  { store, key }: { store: ObjectStore; key: string },
  sidecar: Sidecar,
  current: () => Promise<ObjectVersion | undefined>,
): Promise<"written" | "superseded"> {
  const body = Buffer.from(`${JSON.stringify(sidecar)}\n`);
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const found = await readSidecar(store, key);
    if (found?.sidecar.run === sidecar.run) return "written";
    if (found && !(await isNewer(sidecar, found.sidecar, current))) return "superseded";
    if ((await store.replaceIf(key, found?.etag ?? null, body)) !== null) return "written";
  }
  throw new LabelmillError("STORE_FAILED", `${store.uri}${key} changes too often: try again`, { retryable: true });
}

async function readSidecar(store: ObjectStore, key: string): Promise<{ sidecar: Sidecar; etag: string } | undefined> {
  // Most objects have no sidecar yet. An object of a user with this name may have any size.
  const head = await store.head(key);
  if (!head) return undefined;
  const found = head.size > MAX_SIDECAR_BYTES ? head : await store.getWithEtag(key);
  if (!found) return undefined;
  const sidecar = "bytes" in found ? parseSidecar(found.bytes) : undefined;
  if (sidecar) return { sidecar, etag: found.etag };
  throw new LabelmillError(
    "OUTPUT_FOREIGN",
    `${store.uri}${key}: expected a sidecar of labelmill, or nothing, got another object: move it away`,
  );
}

function parseSidecar(bytes: Uint8Array): Sidecar | undefined {
  try {
    return SidecarSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return undefined;
  }
}
