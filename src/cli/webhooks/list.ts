import type { Config } from "../../config.ts";
import { LabelmillError } from "../../errors.ts";
import { showUrl } from "../../fetch/printable-url.ts";
import { withRedis } from "../../redis/with-redis.ts";
import { openToRead } from "../../storage/open.ts";
import { type Disabled, disabledEndpoints } from "../../webhooks/disabled-endpoints.ts";
import { type Counts, EndpointCounts } from "../../webhooks/endpoint-counts.ts";
import { endpointKey } from "../../webhooks/endpoints.ts";
import { type DeadLetter, KeptDeliveries, showTarget } from "../../webhooks/kept-deliveries.ts";
import type { CommandContext } from "../context.ts";
import { s3Of } from "../s3.ts";
import { stateOf } from "../serve/places.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { keyOfTarget } from "./target.ts";

/** Dead letters in a list for people. */
const MOST_SHOWN = 50;

/** What Redis has about deliveries. Maps are by the key of the endpoint. */
type InRedis = { counts: Map<string, Counts>; waiting: Map<string, number>; letters: DeadLetter[] };

/** `url` has no query. Counts are of the last 30 days, and are omitted without REDIS_URL. */
type Listed = {
  key: string;
  name?: string;
  url: string;
  /** Number of secrets. Null: the endpoint is not declared. */
  secrets: number | null;
  disabled?: Omit<Disabled, "v" | "url" | "name">;
  waiting?: number;
} & Partial<Omit<Counts, "url">>;

/** `labelmill webhooks list` */
export async function listWebhooks({ config, terminal }: CommandContext): Promise<void> {
  const disabled = await readDisabled(config);
  const found = config.redisUrl ? await readRedis({ url: config.redisUrl }, config) : undefined;
  const endpoints = listed(config, disabled, found);
  const letters = (found?.letters ?? []).map(({ target, ...letter }) => ({
    ...letter,
    ...(target ? { target: showTarget(target) } : {}),
  }));
  if (terminal.json) return terminal.printJson({ endpoints, ...(found ? { deadLetters: letters } : {}) });
  terminal.print(terminal.style("bold", endpoints.length === 0 ? "Endpoints: none" : "Endpoints:"));
  for (const endpoint of endpoints) printEndpoint(endpoint, terminal);
  if (!found) return terminal.say("Set REDIS_URL to see counts, waiting deliveries and dead letters.");
  terminal.print(terminal.style("bold", `Dead letters: ${letters.length === 0 ? "none" : letters.length}`));
  for (const { id, run, target, failedAt, reason } of letters.slice(0, MOST_SHOWN))
    terminal.print(`  ${[id, failedAt, run && `run ${run}`, target, reason].filter(Boolean).join("  ")}`);
  if (letters.length > MOST_SHOWN) terminal.print(`  and ${letters.length - MOST_SHOWN} older ones: --json`);
}

/** A state store that does not exist yet has no records. */
async function readDisabled(config: Config): Promise<Map<string, Disabled>> {
  const s3 = s3Of(config);
  try {
    return await disabledEndpoints(await openToRead(stateOf(config), s3));
  } catch (error) {
    if (error instanceof LabelmillError && error.code === "STORE_NOT_FOUND") return new Map();
    throw error;
  } finally {
    s3.close();
  }
}

async function readRedis(address: { url: string }, config: Config): Promise<InRedis> {
  return withRedis(address, async (redis) => {
    const kept = new KeptDeliveries(redis);
    try {
      const waiting = new Map<string, number>();
      for await (const target of kept.waiting()) {
        const key = keyOfTarget(target, config) ?? showTarget(target);
        waiting.set(key, (waiting.get(key) ?? 0) + 1);
      }
      const letters = await Array.fromAsync(kept.dead());
      return { counts: await new EndpointCounts(redis).all(), waiting, letters };
    } finally {
      await kept.close();
    }
  });
}

/** The declared endpoints, then the others that are disabled or had a delivery. */
function listed({ webhooks }: Config, disabled: Map<string, Disabled>, found: InRedis | undefined): Listed[] {
  const declared = webhooks.map(({ name, url, secrets }) => {
    const parsed = new URL(url);
    return { key: endpointKey(parsed), name, url: showUrl(parsed), secrets: secrets.length };
  });
  const known = new Set(declared.map(({ key }) => key));
  const others = new Map([...disabled, ...(found?.counts ?? [])].map(([key, { url }]) => [key, url]));
  for (const key of found?.waiting.keys() ?? []) if (!others.has(key)) others.set(key, "not declared, not tried yet");
  const rest = [...others].filter(([key]) => !known.has(key)).map(([key, url]) => ({ key, url, secrets: null }));
  return [...declared, ...rest].map((endpoint) => {
    const { since, reason } = disabled.get(endpoint.key) ?? {};
    const { url: _, ...counts } = found?.counts.get(endpoint.key) ?? { url: "", delivered: 0, failedTries: 0, dead: 0 };
    return {
      ...endpoint,
      ...(since !== undefined && reason !== undefined ? { disabled: { since, reason } } : {}),
      ...(found ? { waiting: found.waiting.get(endpoint.key) ?? 0, ...counts } : {}),
    };
  });
}

function printEndpoint(endpoint: Listed, terminal: Terminal): void {
  const { key, name, url, disabled, waiting, delivered, deliveredAt, failedTries, failedAt, failure, dead } = endpoint;
  const state = disabled
    ? terminal.style("red", `disabled since ${disabled.since}: ${disabled.reason}`)
    : terminal.style("green", "enabled");
  terminal.print(`  ${terminal.style("bold", name ?? key)}  ${url}  ${state}`);
  if (waiting === undefined) return;
  const last = deliveredAt === undefined ? "" : `, the last at ${deliveredAt}`;
  const failed = failedAt === undefined ? "" : `, the last at ${failedAt}: ${failure}`;
  terminal.print(
    `    ${waiting} waiting · ${delivered} delivered${last} · ${failedTries} tries failed${failed} · ${dead} moved to the dead letters`,
  );
}
