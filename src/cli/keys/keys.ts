import { LabelmillError, messageOf } from "../../errors.ts";
import { withRedis } from "../../redis/with-redis.ts";
import type { Scope } from "../../server/caller.ts";
import { KeyIdSchema } from "../../server/keys/key.ts";
import { KeyCache } from "../../server/keys/key-cache.ts";
import { KeyStore } from "../../server/keys/key-store.ts";
import { openStore, openToRead } from "../../storage/open.ts";
import type { CommandContext } from "../context.ts";
import { s3Of } from "../s3.ts";
import { stateOf } from "../serve/places.ts";
import { showPlace } from "../terminal/report.ts";

const NAME_LENGTH = 100;

/** `labelmill keys create`: prints a new key, which is not stored. */
export async function createKey(
  { name, scopes, owner }: { name: string; scopes: Scope[]; owner?: string },
  context: CommandContext,
): Promise<void> {
  const { terminal, config } = context;
  if (name.length > NAME_LENGTH)
    throw new LabelmillError("USAGE", `--name: expected at most ${NAME_LENGTH} characters, got ${name.length}`);
  if (owner !== undefined) checkId(owner, "--owner");
  using s3 = closing(s3Of(config));
  const state = await openStore(stateOf(config), s3.client);
  const wanted = { name, scopes: [...new Set(scopes)] };
  const { key, record } = await KeyStore.create(state, owner === undefined ? wanted : { ...wanted, owner });
  await clearCache(context, state.uri);
  const { sha256: _, v: __, ...shown } = record;
  if (terminal.json) return terminal.printJson({ key, ...shown });
  terminal.print(key);
  terminal.say(`Key ${record.id} with ${record.scopes.join(", ")} is on record in ${showPlace(state.uri)}.`);
  terminal.say("Only its hash is stored: the key above is shown this once.");
}

/** `labelmill keys list` */
export async function listKeys({ terminal, config }: CommandContext): Promise<void> {
  using s3 = closing(s3Of(config));
  const state = await openToRead(stateOf(config), s3.client);
  const records = await new KeyStore(state).all();
  if (terminal.json) return terminal.printJson(records.map(({ sha256: _, v: __, ...shown }) => shown));
  terminal.say(`${records.length} keys on record in ${showPlace(state.uri)}`);
  for (const { id, name, scopes, owner, createdAt, revokedAt } of records) {
    const details = [scopes.join(","), `created ${createdAt}`, revokedAt && `revoked ${revokedAt}`];
    const owned = owner === id ? undefined : `owns the runs of ${owner}`;
    terminal.print([id, ...details, owned, name].filter(Boolean).join("  "));
  }
}

/** `labelmill keys revoke` */
export async function revokeKey(id: string, context: CommandContext): Promise<void> {
  const { terminal, config } = context;
  checkId(id, "the id of the key");
  using s3 = closing(s3Of(config));
  const state = await openStore(stateOf(config), s3.client);
  const { sha256: _, v: __, ...shown } = await KeyStore.revoke(state, id);
  await clearCache(context, state.uri);
  if (terminal.json) return terminal.printJson(shown);
  terminal.print(`Key ${id} was revoked at ${shown.revokedAt}. Running servers refuse it within 30 s.`);
}

function checkId(id: string, what: string): void {
  if (!KeyIdSchema.safeParse(id).success)
    throw new LabelmillError(
      "USAGE",
      `${what}: expected 8 hexadecimal digits, got ${JSON.stringify(id)}: labelmill keys list`,
    );
}

/** Servers then read the keys again sooner. */
async function clearCache({ config, terminal }: CommandContext, state: string): Promise<void> {
  if (!config.redisUrl) return;
  try {
    await withRedis({ url: config.redisUrl }, (redis) => new KeyCache(redis, state).clear());
  } catch (error) {
    terminal.say(`Redis was not reached, so servers see the change within 30 s: ${messageOf(error)}`);
  }
}

function closing<T extends { close(): void }>(client: T): { client: T } & Disposable {
  return { client, [Symbol.dispose]: () => client.close() };
}
