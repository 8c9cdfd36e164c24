import { z } from "zod";
import { showUrl } from "../fetch/printable-url.ts";
import type { ObjectStore } from "../storage/store.ts";
import type { Endpoint } from "./endpoints.ts";

const PREFIX = "webhooks/disabled/";

const DisabledSchema = z.strictObject({
  v: z.literal(1),
  /** The name of the endpoint, if it was declared. */
  name: z.string().optional(),
  /** The URL without its query. */
  url: z.string(),
  since: z.iso.datetime(),
  reason: z.string(),
});
export type Disabled = z.infer<typeof DisabledSchema>;

/** The endpoints that get no deliveries, in the state store: every server knows them, and a lost Redis changes nothing. */
export class DisabledEndpoints {
  readonly #state: ObjectStore;

  constructor(state: ObjectStore) {
    this.#state = state;
  }

  /** @returns undefined if the endpoint is enabled */
  async get({ key }: Pick<Endpoint, "key">): Promise<Disabled | undefined> {
    const found = await this.#state.getWithEtag(keyOf(key));
    return found && parse(found.bytes);
  }

  /** An endpoint that is disabled already stays as it is. */
  async disable({ key, name, url }: Endpoint, reason: string): Promise<void> {
    const record: Disabled = {
      v: 1,
      ...(name === undefined ? {} : { name }),
      url: showUrl(url),
      since: new Date().toISOString(),
      reason,
    };
    await this.#state.putIfAbsent(keyOf(key), Buffer.from(JSON.stringify(record)));
  }

  /** @returns whether the endpoint was disabled */
  async enable(key: string): Promise<boolean> {
    const isDisabled = (await this.#state.head(keyOf(key))) !== undefined;
    await this.#state.remove(keyOf(key));
    return isDisabled;
  }

  /** All disabled endpoints by key. */
  async all(): Promise<Map<string, Disabled>> {
    const found = new Map<string, Disabled>();
    for await (const { key } of this.#state.list(PREFIX)) {
      const id = key.slice(PREFIX.length).replace(/\.json$/, "");
      const disabled = await this.get({ key: id });
      if (disabled) found.set(id, disabled);
    }
    return found;
  }
}

function keyOf(key: string): string {
  return `${PREFIX}${key}.json`;
}

/** A record that another version wrote still disables the endpoint. */
function parse(bytes: Uint8Array): Disabled {
  try {
    return DisabledSchema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return { v: 1, url: "unknown", since: new Date(0).toISOString(), reason: "a record that this version cannot read" };
  }
}
