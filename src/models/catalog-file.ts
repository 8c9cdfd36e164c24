import { mkdir, realpath, rename } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { withAside } from "../storage/fs/atomic-write.ts";
import { type CatalogFile, type FileEntry, parseCatalog, readCatalog } from "./catalog.ts";

/**
 * Adds entries to a user's catalog, or replaces those of the same id. The rest of the file is kept. The file is written aside
 * and renamed: a reader sees the old one or the new one.
 * @throws LabelmillError CONFIG_INVALID for a file that does not parse; it remains unchanged
 */
export async function putEntries(file: string, entries: readonly FileEntry[]): Promise<void> {
  // If the file is a link, its target is replaced.
  const path = await realpath(file).catch(() => file);
  const old: CatalogFile = (await readCatalog(path)) ?? { schemaVersion: 1, models: [] };
  const byId = new Map(old.models.map((entry) => [entry.id, entry]));
  for (const entry of entries) byId.set(entry.id, entry);
  const changed = parseCatalog({ ...old, models: [...byId.values()] }, file);
  await mkdir(dirname(path), { recursive: true });
  const body = Buffer.from(`${JSON.stringify(changed, null, 2)}\n`);
  await withAside(dirname(path), basename(path), body, (aside) => rename(aside, path));
}
