import { readEnvironment } from "../../src/config.ts";
import { openRedis } from "../../src/redis/connect.ts";
import { type EmbeddedRedis, startEmbeddedRedis } from "../../src/redis/embedded/embedded.ts";
import { freePort } from "../../src/redis/embedded/launch.ts";
import { defaultConfig } from "../config.ts";

/** The benchmark's own server, at an address that other processes can use. */
export type TcpRedis = { url: string; [Symbol.asyncDispose](): Promise<void> };

/** CPU time and memory of the server, since its start. */
export type RedisUse = {
  /** CPU time of the thread that runs the commands, in seconds. */
  cpuSeconds: number;
  /** All bytes that the server has allocated, and those of them that are data. */
  usedBytes: number;
  datasetBytes: number;
  /** The most that it ever had allocated. */
  peakBytes: number;
};

/** The server that a command starts for itself. */
export function startOwnRedis(): Promise<EmbeddedRedis> {
  const say = (line: string) => void process.stderr.write(`${line}\n`);
  return startEmbeddedRedis({ cacheDir: defaultConfig().cacheDir, path: readEnvironment().path, say });
}

/** The same server with a port of 127.0.0.1, since `REDIS_URL` has no way to say a socket's path. Needs Redis 7. */
export async function startTcpRedis(): Promise<TcpRedis> {
  const server = await startOwnRedis();
  const { address, close } = server;
  const disposable = { [Symbol.asyncDispose]: close };
  if ("url" in address) return { url: address.url, ...disposable };
  try {
    const port = await freePort();
    const redis = await openRedis(address, "producer");
    await redis.call("CONFIG", "SET", "bind", "127.0.0.1", "port", port).finally(() => redis.disconnect());
    return { url: `redis://127.0.0.1:${port}`, ...disposable };
  } catch (error) {
    await close();
    throw error;
  }
}

export async function readUse(url: string): Promise<RedisUse> {
  const redis = await openRedis({ url }, "producer");
  try {
    const info = `${await redis.info("cpu")}\n${await redis.info("memory")}`;
    const number = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, "m").exec(info)?.[1]);
    return {
      cpuSeconds: number("used_cpu_user_main_thread") + number("used_cpu_sys_main_thread"),
      usedBytes: number("used_memory"),
      datasetBytes: number("used_memory_dataset"),
      peakBytes: number("used_memory_peak"),
    };
  } finally {
    redis.disconnect();
  }
}

/** Of the server that all parts use. */
export async function redisVersion(): Promise<string> {
  await using server = await startOwnRedis();
  const redis = await openRedis(server.address, "producer");
  try {
    const info = await redis.info("server");
    const valkey = /^valkey_version:(\S+)/m.exec(info)?.[1];
    return valkey ? `valkey ${valkey}` : (/^redis_version:(\S+)/m.exec(info)?.[1] ?? "unknown");
  } finally {
    redis.disconnect();
  }
}
