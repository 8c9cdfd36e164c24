import { WorkerRegistry } from "../../fleet/registry.ts";
import { describeAddress, openRedis, type RedisAddress } from "../../redis/connect.ts";
import type { SearchOptions } from "../../redis/embedded/debian.ts";
import { findRedisServer } from "../../redis/embedded/find.ts";
import { readInfo } from "../../redis/fitness.ts";
import { openQueue } from "../../runs/queues/queue.ts";
import { DEAD_LETTER_QUEUE } from "../../schemas/names.ts";
import type { WorkerInfo } from "../../schemas/worker.ts";
import { SOFTWARE } from "../../software.ts";
import { type CheckResult, type Finding, note, ok, runCheck } from "./check.ts";

type Connection = Awaited<ReturnType<typeof openRedis>>;

/** The server of REDIS_URL, and what it knows of workers and of jobs that none of them could read. */
export async function* checkRedisServer(address: RedisAddress): AsyncGenerator<CheckResult> {
  const held: { redis?: Connection; info?: ReadonlyMap<string, string> } = {};
  try {
    yield await runCheck("Redis", async () => {
      held.redis = await openRedis(address, "producer");
      held.info = await readInfo(held.redis);
      return describeServer(held.info, describeAddress(address));
    });
    const { redis, info } = held;
    // The line above says why; without a server there is nothing else to say.
    if (!redis || !info) return;
    yield await runCheck("Redis persistence", () => persistence(info));
    yield await runCheck("workers", async () => describeWorkers(await new WorkerRegistry(redis).workers()));
    yield await runCheck("dead letters", () => deadLetters(redis));
  } finally {
    held.redis?.disconnect();
  }
}

/** That a command without REDIS_URL finds a server to start. Nothing is started, and nothing fetched. */
export async function checkOwnRedis(options: Omit<SearchOptions, "say">): Promise<Finding> {
  let fetching: string | undefined;
  const say = (line: string) => {
    fetching ??= line;
    throw new Error("it is not fetched for a check");
  };
  try {
    const server = await findRedisServer({ ...options, say });
    const which =
      server.kind === "binary"
        ? `${server.command.at(-1)}, version ${server.version}`
        : `the container ${server.image}`;
    return ok(`a command starts its own: ${which} (no REDIS_URL)`);
  } catch (error) {
    if (fetching === undefined) throw error;
    return note(
      `a server has to be fetched first, and the first command does it: ${fetching}`,
      "install Valkey or Redis, or set REDIS_URL",
    );
  }
}

/** `openRedis` refused what is too old or evicts: what is left is fit, or does not say. */
function describeServer(info: ReadonlyMap<string, string>, where: string): Finding {
  const valkey = info.get("valkey_version");
  const version = valkey === undefined ? info.get("redis_version") : undefined;
  const name = valkey ? `Valkey ${valkey}` : `Redis ${version ?? "(it hides its version)"}`;
  const policy = info.get("maxmemory_policy");
  return ok(`${where}: ${name}, ${policy === undefined ? "eviction policy hidden" : `eviction policy ${policy}`}`);
}

function persistence(info: ReadonlyMap<string, string>): Finding {
  const aof = info.get("aof_enabled");
  if (aof === "1") return ok("appendonly is on: what is queued outlives a restart of the server");
  const found = aof === "0" ? "appendonly is off" : "the server hides whether appendonly is on";
  return note(
    `${found}: what a restart of the server loses, the same command plans anew; finished parts stay`,
    "run redis-cli CONFIG SET appendonly yes (and set it in redis.conf, to keep it)",
  );
}

/** @param workers those that registered, of whatever version */
export function describeWorkers(workers: readonly WorkerInfo[]): Finding {
  if (workers.length === 0) return note("none is there", "start one where the work is to be done: labelmill worker");
  const others = workers.filter(({ software }) => software !== SOFTWARE);
  const all = workers.length === 1 ? "1 worker" : `${workers.length} workers`;
  if (others.length === 0) return ok(`${all}, ${SOFTWARE} like this command`);
  const named = others.slice(0, 5).map(({ software, host, pid }) => `${host}:${pid} (${software})`);
  const more = others.length > named.length ? ` and ${others.length - named.length} more` : "";
  return note(
    `${all}, of which ${others.length} are not ${SOFTWARE} like this command: ${named.join(", ")}${more}`,
    "install the same version everywhere",
  );
}

async function deadLetters(redis: Connection): Promise<Finding> {
  const queue = openQueue(redis, DEAD_LETTER_QUEUE);
  try {
    const waiting = await queue.getWaitingCount();
    if (waiting === 0) return ok("none");
    return note(
      `${waiting} in the queue ${DEAD_LETTER_QUEUE}: jobs that no worker could do, each with the reason`,
      "correct whoever queued them, then remove them from that queue",
    );
  } finally {
    await queue.close();
  }
}
