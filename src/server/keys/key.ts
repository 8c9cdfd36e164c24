import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { SCOPES } from "../caller.ts";

/** A key: its id, which may be shown, and 256 random bits. */
const KEY = /^lm_([0-9a-f]{8})_[A-Za-z0-9_-]{43}$/;

export const KeyIdSchema = z.string().regex(/^[0-9a-f]{8}$/, "the id of a key, 8 hexadecimal digits");

/** A key on record. The key itself is not stored. */
export const KeyRecordSchema = z.strictObject({
  v: z.literal(1),
  id: KeyIdSchema,
  /** For people. */
  name: z.string().max(100),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  scopes: z.array(z.enum(SCOPES)).min(1),
  /** Owns the runs that the key submits. Its own id, or that of a key that it replaces. */
  owner: KeyIdSchema,
  createdAt: z.iso.datetime(),
  revokedAt: z.iso.datetime().optional(),
});
export type KeyRecord = z.infer<typeof KeyRecordSchema>;

/** A new key and its id. */
export function makeKey(): { id: string; key: string } {
  const id = randomBytes(4).toString("hex");
  return { id, key: `lm_${id}_${randomBytes(32).toString("base64url")}` };
}

/** The id in a key. Undefined if the text does not have the form of a key. */
export function idOfKey(text: string): string | undefined {
  return KEY.exec(text)?.[1];
}

/** The SHA-256 of a key, as hexadecimal digits. A key is random, so it needs no slow hash. */
export function hashOfKey(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** Whether two hashes are equal. The time does not depend on their content. */
export function equalHashes(a: string, b: string): boolean {
  const [first, second] = [Buffer.from(a, "hex"), Buffer.from(b, "hex")];
  return first.length === second.length && timingSafeEqual(first, second);
}
