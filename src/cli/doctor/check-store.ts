import { randomBytes } from "node:crypto";
import { rm, rmdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { openOut } from "../../producers/runs/output-location.ts";
import { within } from "../../redis/deadline.ts";
import { parseS3Uri, type S3 } from "../../storage/s3/s3.ts";
import { isS3 } from "../../storage/s3/uri.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { type Finding, note, ok, wrong } from "./check.ts";

const REMOVE_MS = 1_000;
const FIX_STORE = "repair the store, or choose another with --out";

/**
 * Checks that a place can store an output: writes, reads, lists, and tries a second write to an existing key. Leaves nothing
 * behind, and removes folders that it made.
 * @throws LabelmillError as the store does
 */
export async function checkStore(out: string, s3: S3): Promise<Finding> {
  const missing = isS3(out) ? [] : await missingFolders(resolve(out));
  try {
    const store = await openOut(out, s3);
    const keys = { plain: probeKey(), once: probeKey() };
    const remove = () => removeKeys(store.uri, Object.values(keys), s3);
    const finding = await tryStore(store, keys).catch(async (error: unknown) => {
      // The report of the failure must not wait long for this.
      await within(REMOVE_MS, remove()).catch(() => {});
      throw error;
    });
    await remove();
    return finding;
  } finally {
    // Fails, as it should, if another process has put a file there.
    for (const folder of missing) await rmdir(folder).catch(() => {});
  }
}

/**
 * Writes, reads and lists through `store`. Both keys stay in it.
 * @throws LabelmillError as the store does
 */
export async function tryStore(store: ObjectStore, keys: { plain: string; once: string }): Promise<Finding> {
  const [first, second] = [randomBytes(64), randomBytes(64)];
  await store.put(keys.plain, first);
  if (!first.equals(await store.get(keys.plain)))
    return wrong(`${store.uri}: reading returned other data than was written`, FIX_STORE);
  const listed: string[] = [];
  for await (const { key, size } of store.list(keys.plain)) listed.push(`${key} ${size}`);
  if (listed.join() !== `${keys.plain} ${first.length}`)
    return wrong(`${store.uri}: the listing does not contain what was written`, FIX_STORE);

  await store.putIfAbsent(keys.once, first);
  const replaced = await store.putIfAbsent(keys.once, second);
  const refuses = !replaced && first.equals(await store.get(keys.once));
  if (refuses && store.conditionalWrites)
    return ok(`${store.uri}: writes, reads, lists, and refuses a second write to a key`);
  return note(
    `${store.uri}: writes, reads and lists, but cannot refuse a second write to a key: hashes are reliable only if no worker continues after its lock has expired`,
    "use a file system with hard links, or an S3 server that supports If-None-Match",
  );
}

function probeKey(): string {
  return `_doctor-${randomBytes(8).toString("hex")}`;
}

/** A store has no operation to delete, since no run needs it. */
async function removeKeys(uri: string, keys: readonly string[], s3: S3): Promise<void> {
  for (const key of keys) {
    if (isS3(uri)) {
      const at = parseS3Uri(uri);
      await s3.delete({ bucket: at.bucket, key: at.key + key });
    } else await rm(join(fileURLToPath(uri), key), { force: true });
  }
}

/** The folders of a path that do not exist, deepest first. */
async function missingFolders(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let at = path; dirname(at) !== at; at = dirname(at)) {
    const found = await stat(at).catch(() => undefined);
    if (found) break;
    missing.push(at);
  }
  return missing;
}
