import { WorkerRegistry } from "../../fleet/registry.ts";
import { readInfo } from "../../redis/check-server.ts";
import { describeAddress, openRedis, type RedisAddress } from "../../redis/connect.ts";
import type { SearchOptions } from "../../redis/embedded/debian.ts";
import { findRedisServer } from "../../redis/embedded/find.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { DEAD_LETTER_QUEUE } from "../../schemas/names.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import { SOFTWARE } from "../../software.ts";
import { type CheckResult, type Finding, note, ok, runCheck } from "./check.ts";

type Connection = Awaited<ReturnType<typeof openRedis>>;

/** Checks the server of REDIS_URL, the workers registered there, and its dead letters. */
export async function* checkRedisServer(address: RedisAddress): AsyncGenerator<CheckResult> {
  const opened: { redis?: Connection; info?: ReadonlyMap<string, string> } = {};
  try {
    yield await runCheck("Redis", async () => {
      opened.redis = await openRedis(address, "producer");
      opened.info = await readInfo(opened.redis);
      return describeServer(opened.info, describeAddress(address));
    });
    const { redis, info } = opened;
    // The check above reports the reason. Without a server, nothing else can be checked.
    if (!redis || !info) return;
    yield await runCheck("Redis persistence", () => persistence(info));
    yield await runCheck("workers", async () => describeWorkers(await new WorkerRegistry(redis).workers()));
    yield await runCheck("dead letters", () => deadLetters(redis));
  } finally {
    opened.redis?.disconnect();
  }
}

/** Checks that a command without REDIS_URL finds a Redis server to start. Starts and downloads nothing. */
export async function checkOwnRedis(options: Omit<SearchOptions, "say">): Promise<Finding> {
  let fetching: string | undefined;
  const say = (line: string) => {
    fetching ??= line;
    throw new Error("a check downloads nothing");
  };
  try {
    const server = await findRedisServer({ ...options, say });
    const which =
      server.kind === "binary"
        ? `${server.command.at(-1)}, version ${server.version}`
        : `the container ${server.image}`;
    return ok(`no REDIS_URL, so each command starts its own server: ${which}`);
  } catch (error) {
    if (fetching === undefined) throw error;
    return note(`the first command has to download a server: ${fetching}`, "install Valkey or Redis, or set REDIS_URL");
  }
}

/** Describes a server that `openRedis` accepted: it is new enough and does not evict, or it hides its version or policy. */
function describeServer(info: ReadonlyMap<string, string>, where: string): Finding {
  const valkey = info.get("valkey_version");
  const version = valkey === undefined ? info.get("redis_version") : undefined;
  const name = valkey ? `Valkey ${valkey}` : `Redis ${version ?? "(version hidden)"}`;
  const policy = info.get("maxmemory_policy");
  return ok(`${where}: ${name}, ${policy === undefined ? "eviction policy hidden" : `eviction policy ${policy}`}`);
}

function persistence(info: ReadonlyMap<string, string>): Finding {
  const aof = info.get("aof_enabled");
  if (aof === "1") return ok("appendonly is on: queued work survives a restart of the server");
  const found = aof === "0" ? "appendonly is off" : "the server hides whether appendonly is on";
  return note(
    `${found}: a restart of the server loses the queued work; the same command then plans it again, and finished parts stay`,
    "run redis-cli CONFIG SET appendonly yes (and set it in redis.conf to make it permanent)",
  );
}

/** @param workers all registered workers, of any version */
function describeWorkers(workers: readonly WorkerInfo[]): Finding {
  if (workers.length === 0)
    return note("no worker is registered", "start one on a machine that can do the work: labelmill worker");
  const others = workers.filter(({ software }) => software !== SOFTWARE);
  const all = workers.length === 1 ? "1 worker" : `${workers.length} workers`;
  if (others.length === 0) return ok(`${all} with ${SOFTWARE}, the version of this command`);
  const named = others.slice(0, 5).map(({ software, host, pid }) => `${host}:${pid} (${software})`);
  const more = others.length > named.length ? ` and ${others.length - named.length} more` : "";
  return note(
    `${all}; ${others.length} do not have the version of this command (${SOFTWARE}): ${named.join(", ")}${more}`,
    "install the same version everywhere",
  );
}

async function deadLetters(redis: Connection): Promise<Finding> {
  const queue = openQueue(redis, DEAD_LETTER_QUEUE);
  try {
    const waiting = await queue.getWaitingCount();
    if (waiting === 0) return ok("none");
    return note(
      `${waiting} in the queue ${DEAD_LETTER_QUEUE}: jobs that no worker could read, each with its reason`,
      "fix the program that queued them, then remove them from that queue",
    );
  } finally {
    await queue.close();
  }
}
