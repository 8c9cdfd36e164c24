import { LabelmillError } from "../../errors.ts";
import type { Origin } from "./origin.ts";

/** Bytes `start` to `end` (exclusive) of an input. @throws LabelmillError INPUT_CHANGED if the input is shorter */
export async function readRange(origin: Origin, start: number, end: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(end - start);
  let at = 0;
  if (end > start) {
    for await (const piece of origin.bytes({ start, end })) {
      bytes.set(piece, at);
      at += piece.length;
    }
  }
  if (at === bytes.length) return bytes.buffer;
  await origin.checkUnchanged();
  throw new LabelmillError("INPUT_CHANGED", `${origin.label} changed while it was read: it ends at byte ${start + at}`);
}
