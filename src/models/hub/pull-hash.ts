import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { openRegular } from "../../regular-file.ts";
import type { HubFile } from "./hub.ts";

const PIECE_BYTES = 1 << 20;

/** @returns the SHA-256 of the file at `path`; undefined if it does not exist, or differs from what the hub announced */
export async function hashAnnounced(path: string, { size, hash }: HubFile): Promise<string | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== size) return undefined;
  const sha256 = createHash("sha256");
  const git = hash.algorithm === "git" ? createHash("sha1").update(`blob ${size}\0`) : undefined;
  for await (const piece of (await openRegular(path)).createReadStream({ highWaterMark: PIECE_BYTES })) {
    sha256.update(piece);
    git?.update(piece);
  }
  const hex = sha256.digest("hex");
  return (git ? git.digest("hex") : hex) === hash.hex ? hex : undefined;
}
