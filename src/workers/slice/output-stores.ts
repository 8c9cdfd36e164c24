import type { OutputGrants } from "../../fetch/output-grants.ts";
import { openStore } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";

const MAX_OPEN_STORES = 100;
/** How long a grant of an open store is valid, in ms. Small jobs would otherwise look up its path for each part. */
const GRANTED_MS = 1_000;

type OpenStore = { store: Promise<ObjectStore>; grantedAt: number };

/**
 * Stores of outputs by their URI, each opened once. Only granted URIs are opened: a client that can write to Redis must
 * not be able to make the worker write to a path of its choice.
 */
export class OutputStores {
  readonly #grants: OutputGrants;
  readonly #s3: S3;
  readonly #open = new Map<string, OpenStore>();

  constructor(grants: OutputGrants, s3: S3) {
    this.#grants = grants;
    this.#s3 = s3;
  }

  /** @throws LabelmillError NOT_GRANTED */
  async open(uri: string): Promise<ObjectStore> {
    const known = this.#open.get(uri);
    if (known && performance.now() - known.grantedAt < GRANTED_MS) return known.store;
    await this.#grants.check(uri);
    const grantedAt = performance.now();
    const found = this.#open.get(uri);
    if (found) {
      found.grantedAt = grantedAt;
      return found.store;
    }
    const opening = openStore(uri, this.#s3);
    this.#open.set(uri, { store: opening, grantedAt });
    opening.catch(() => this.#open.delete(uri));
    const oldest = this.#open.keys().next().value!;
    if (this.#open.size > MAX_OPEN_STORES) this.#open.delete(oldest);
    return opening;
  }
}
