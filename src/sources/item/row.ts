import type { ItemError } from "../../schemas/item.ts";
import { MAX_KEPT_BYTES, quoted } from "../source.ts";

/** The requested values of one record: of the column, the id column and the kept columns; or an error. */
export type Row = {
  value?: string;
  /** The image itself, if the column contains it. */
  data?: Uint8Array;
  id?: string;
  input?: Record<string, unknown>;
  error?: ItemError;
  repaired?: boolean;
  /** The filter excludes the record. */
  skipped?: true;
};

/** Levels that a kept value may nest. */
export const DEEPEST_KEPT = 64;

export function invalid(message: string): { error: ItemError } {
  return { error: { code: "RECORD_INVALID", message: message.slice(0, 4096) } };
}

/** The error if the kept columns of a record are too deep or too large. @param where the record, for the message */
export function keptError(input: Record<string, unknown>, where: string): ItemError | undefined {
  for (const [name, value] of Object.entries(input)) {
    if (isDeeper(value, DEEPEST_KEPT)) {
      return invalid(`${where}: column ${quoted(name)} cannot be kept: it nests deeper than ${DEEPEST_KEPT} levels`)
        .error;
    }
  }
  const bytes = Buffer.byteLength(JSON.stringify(input));
  if (bytes <= MAX_KEPT_BYTES) return undefined;
  const message = `${where}: expected at most ${MAX_KEPT_BYTES} bytes of kept columns, got ${bytes}`;
  return { code: "RECORD_TOO_LARGE", message };
}

export function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

export function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
