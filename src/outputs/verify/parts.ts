import { messageOf } from "../../errors.ts";
import { readPart } from "../../rows/part.ts";
import { type PartLine, selectedIn } from "../../schemas/manifest.ts";
import { isPartKey, PARTS_FILE } from "../../schemas/names.ts";
import type { ReadableStore } from "../../storage/store.ts";
import { getIfExists } from "../output.ts";
import { rowsDiffer } from "./planned-rows.ts";
import type { Findings } from "./verification.ts";

/** Reads a part and checks it against its line in `_parts.jsonl`. */
export async function checkPart(
  store: ReadableStore,
  line: PartLine,
  uris: readonly string[],
  findings: Findings,
): Promise<void> {
  findings.totals.parts += 1;
  findings.totals.planned += selectedIn(line.planned);
  const bytes = await getIfExists(store, line.key);
  if (!bytes) return findings.problem(`${line.key} is missing`);
  let part: ReturnType<typeof readPart>;
  try {
    part = readPart(bytes);
  } catch (error) {
    return findings.problem(`${line.key}: ${messageOf(error)}`);
  }
  for (const key of ["rows", "errors", "bytes", "sha256"] as const)
    findings.equal(`${line.key}: ${key}`, part.receipt[key], line[key]);
  findings.totals.labeled += part.receipt.rows - part.receipt.errors;
  findings.totals.errors += part.receipt.errors;
  for (const [label, count] of Object.entries(part.labels)) findings.addLabels(label, count);
  const difference = rowsDiffer(part.rows, line.planned, uris);
  if (difference) findings.problem(`${line.key}: ${difference}`);
}

/**
 * Finds parts in the store that `_parts.jsonl` does not list. Both are in the order of the keys, so they are read side
 * by side, and memory does not grow with their number.
 */
export class UnlistedParts {
  readonly #keys: AsyncIterator<{ key: string }>;
  readonly #findings: Findings;
  readonly #folder: string;
  #ahead: string | undefined;

  /** @param folder of the parts, "" or with a slash at its end */
  constructor(store: ReadableStore, folder: string, findings: Findings) {
    this.#folder = folder;
    this.#keys = store.list(`${folder}part-`)[Symbol.asyncIterator]();
    this.#findings = findings;
  }

  /** Reports the parts before `key`, the next one that is listed. */
  async upTo(key: string): Promise<void> {
    for (let found = await this.#peek(); found !== undefined && found <= key; found = await this.#peek()) {
      if (found !== key) this.#report(found);
      this.#ahead = undefined;
    }
  }

  /** Reports the parts after the last one that is listed. */
  async rest(): Promise<void> {
    for (let found = await this.#peek(); found !== undefined; found = await this.#peek()) {
      this.#report(found);
      this.#ahead = undefined;
    }
  }

  async #peek(): Promise<string | undefined> {
    if (this.#ahead === undefined) {
      const next = await this.#keys.next();
      this.#ahead = next.done ? undefined : next.value.key;
    }
    return this.#ahead;
  }

  #report(key: string): void {
    if (isPartKey(key.slice(this.#folder.length)))
      this.#findings.problem(`${key} exists, but ${PARTS_FILE} does not list it`);
  }
}
