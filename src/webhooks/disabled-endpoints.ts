import { z } from "zod";
import { showUrl } from "../fetch/printable-url.ts";
import type { ObjectStore, ReadableStore } from "../storage/store.ts";
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

/**
 * Whether an endpoint gets no deliveries. The records are in the state store, so that every server knows them, and a lost
 * Redis changes nothing.
 * @returns undefined if the endpoint is enabled
 */
export async function disabledEndpoint(state: ReadableStore, key: string): Promise<Disabled | undefined> {
  const found = await state.getWithEtag(keyOf(key));
  return found && parse(found.bytes);
}

/** All disabled endpoints by key. */
export async function disabledEndpoints(state: ReadableStore): Promise<Map<string, Disabled>> {
  const found = new Map<string, Disabled>();
  for await (const { key } of state.list(PREFIX)) {
    const id = key.slice(PREFIX.length).replace(/\.json$/, "");
    const disabled = await disabledEndpoint(state, id);
    if (disabled) found.set(id, disabled);
  }
  return found;
}

/** An endpoint that is disabled already stays as it is. */
export async function disableEndpoint(state: ObjectStore, { key, name, url }: Endpoint, reason: string): Promise<void> {
  const record: Disabled = {
    v: 1,
    ...(name === undefined ? {} : { name }),
    url: showUrl(url),
    since: new Date().toISOString(),
    reason,
  };
  await state.putIfAbsent(keyOf(key), Buffer.from(JSON.stringify(record)));
}

/** @returns whether the endpoint was disabled */
export async function enableEndpoint(state: ObjectStore, key: string): Promise<boolean> {
  const isDisabled = (await state.head(keyOf(key))) !== undefined;
  await state.remove(keyOf(key));
  return isDisabled;
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
