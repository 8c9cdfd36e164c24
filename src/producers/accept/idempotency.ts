import { createHash } from "node:crypto";
import { z } from "zod";
import { LabelmillError } from "../../errors.ts";
import { encodeJson } from "../../outputs/output.ts";
import type { ObjectStore } from "../../storage/store.ts";
import { deriveRunId, digestOf } from "./run-id.ts";

/** How long a key stands for its first submission. */
const VALID_MS = 24 * 3_600_000;

const RecordSchema = z.strictObject({
  v: z.literal(1),
  bodySha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: z.iso.datetime(),
});
type Record = z.infer<typeof RecordSchema>;

/** A submission with an `Idempotency-Key`. */
export type KeyedSubmission = {
  /** The id of the API key: other callers may use the same idempotency key. */
  owner: string;
  key: string;
  /** All that decides what is done, such as the route and the body. */
  body: string | Uint8Array;
};

/**
 * The idempotency keys of the last 24 hours, in the state store. The id of a run follows from its record, so that it is the same for every
 * server, and after Redis was lost.
 */
export class Idempotency {
  readonly #state: ObjectStore;
  readonly #secret: string;
  readonly #now: () => number;

  /** @param secret of the servers: the store names neither owners nor keys */
  constructor(state: ObjectStore, secret: string, now: () => number = Date.now) {
    this.#state = state;
    this.#secret = secret;
    this.#now = now;
  }

  /**
   * The id of the run of a submission: the same one for 24 hours.
   * @throws LabelmillError IDEMPOTENCY_CONFLICT if the key stands for another body; STORE_FAILED
   */
  async runOf({ owner, key, body }: KeyedSubmission): Promise<string> {
    const bodySha256 = createHash("sha256").update(body).digest("hex");
    const { createdAt, bodySha256: first } = await this.#record(this.#keyOf(owner, key), bodySha256);
    if (first === bodySha256) return deriveRunId(this.#secret, owner, key, createdAt);
    throw new LabelmillError(
      "IDEMPOTENCY_CONFLICT",
      "expected the body of the first request with this Idempotency-Key, got another one: use a new key for another submission",
    );
  }

  /** The record of a key that is valid now. Of concurrent callers one writes it. */
  async #record(key: string, bodySha256: string): Promise<Record> {
    for (;;) {
      const found = await this.#state.getWithEtag(key);
      const record = found && parse(found.bytes);
      if (record && this.#now() - Date.parse(record.createdAt) < VALID_MS) return record;
      const fresh: Record = { v: 1, bodySha256, createdAt: new Date(this.#now()).toISOString() };
      if ((await this.#state.replaceIf(key, found?.etag ?? null, encodeJson(fresh))) !== null) return fresh;
    }
  }

  #keyOf(owner: string, key: string): string {
    return `idempotency/${digestOf(this.#secret, [owner, key])}.json`;
  }
}

/** @returns undefined for a file that no server wrote: it is replaced */
function parse(bytes: Uint8Array): Record | undefined {
  try {
    return RecordSchema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
  } catch {
    return undefined;
  }
}
