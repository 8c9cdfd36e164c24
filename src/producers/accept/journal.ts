import { z } from "zod";
import { LabelmillError, messageOf } from "../../errors.ts";
import { encodeJson, getIfExists } from "../../outputs/output.ts";
import { type Accepted, AcceptedSchema } from "../../schemas/enrichment/accepted.ts";
import { ACCEPTED_FOLDER } from "../../schemas/names.ts";
import { openStore } from "../../storage/open.ts";
import type { S3 } from "../../storage/s3/s3.ts";
import type { ObjectStore } from "../../storage/store.ts";

/**
 * The accepted submissions that have not ended, one object for each in `_accepted/` of the output of a server. Several servers may have
 * one output: each operation is atomic, and doing it again changes nothing.
 */
export class Journal {
  readonly #store: ObjectStore;

  private constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** @param output the URI of the output of the server, which ends in `/` */
  static async open(output: string, s3: S3 | undefined): Promise<Journal> {
    // A separate store: a list reads this folder and not the parts beside it, and the folder stays when it is empty.
    return new Journal(await openStore(output + ACCEPTED_FOLDER, s3));
  }

  /** Stores a record. Resolves when it is safe. @returns false if the run has a record, which stays unchanged */
  write(record: Accepted): Promise<boolean> {
    return this.#store.putIfAbsent(keyOf(record.run), encodeJson(record));
  }

  /** @returns undefined if the record does not exist @throws LabelmillError OUTPUT_FOREIGN if it is invalid */
  async read(run: string): Promise<Accepted | undefined> {
    const bytes = await getIfExists(this.#store, keyOf(run));
    return bytes && this.#parse(run, bytes);
  }

  /**
   * Changes a record, if it exists. Another server may change it at the same time: `change` then gets the newer record.
   * @param change returns undefined to remove the record
   * @returns whether the record was removed
   * @throws LabelmillError OUTPUT_FOREIGN if it is invalid
   */
  async update(run: string, change: (record: Accepted) => Accepted | undefined): Promise<boolean> {
    for (;;) {
      const found = await this.#store.getWithEtag(keyOf(run));
      if (!found) return false;
      const changed = change(this.#parse(run, found.bytes));
      if (changed === undefined) {
        await this.remove(run);
        return true;
      }
      if ((await this.#store.replaceIf(keyOf(run), found.etag, encodeJson(changed))) !== null) return false;
    }
  }

  async remove(run: string): Promise<void> {
    await this.#store.remove(keyOf(run));
  }

  /** The ids of the runs that have a record. */
  async *runs(): AsyncGenerator<string> {
    for await (const { key } of this.#store.list("")) {
      const run = /^([0-9a-f]{16})\.json$/.exec(key)?.[1];
      if (run !== undefined) yield run;
    }
  }

  #parse(run: string, bytes: Uint8Array): Accepted {
    try {
      return AcceptedSchema.parse(JSON.parse(Buffer.from(bytes).toString("utf8")));
    } catch (error) {
      const reason = error instanceof z.ZodError ? z.prettifyError(error).split("\n")[0] : messageOf(error);
      throw new LabelmillError(
        "OUTPUT_FOREIGN",
        `expected ${this.#store.uri}${keyOf(run)} to be a record that a server wrote, got another file: ${reason}. Move it away`,
        { cause: error },
      );
    }
  }
}

function keyOf(run: string): string {
  return `${run}.json`;
}
