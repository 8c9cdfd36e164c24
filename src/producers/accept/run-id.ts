import { createHmac } from "node:crypto";

/**
 * The id of a run that follows from what was submitted: the same parts give the same id, so that a repeated submission
 * finds the run of the first one, also after Redis was lost. Without the secret no caller can choose or guess an id.
 * @returns 16 hexadecimal digits
 */
export function deriveRunId(secret: string, ...parts: readonly string[]): string {
  return digestOf(secret, parts).slice(0, 16);
}

/** @returns 64 hexadecimal digits. Different lists of parts have different digests: JSON marks where each part ends. */
export function digestOf(secret: string, parts: readonly string[]): string {
  return createHmac("sha256", secret).update(JSON.stringify(parts)).digest("hex");
}
