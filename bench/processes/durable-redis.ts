import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { readEnvironment } from "../../src/config.ts";
import { openRedis } from "../../src/redis/connect.ts";
import { findRedisServer } from "../../src/redis/embedded/find.ts";
import { freePort } from "../../src/redis/embedded/launch.ts";
import { defaultConfig } from "../config.ts";

const READY_MS = 10_000;
const LOOK_MS = 20;

/** A server with an append-only file. After a kill and a restart at the same address, its data is there again. */
export class DurableRedis implements AsyncDisposable {
  readonly url: string;
  readonly #command: readonly string[];
  readonly #settings: readonly string[];
  #server: ChildProcess | undefined;

  private constructor(command: readonly string[], port: number, folder: string) {
    this.url = `redis://127.0.0.1:${port}`;
    this.#command = command;
    this.#settings = [
      ...["--bind", "127.0.0.1", "--port", String(port), "--dir", folder, "--loglevel", "warning"],
      ...["--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"],
    ];
  }

  /** @param folder for its file; made here */
  static async start(folder: string): Promise<DurableRedis> {
    const say = (line: string) => void process.stderr.write(`${line}\n`);
    const found = await findRedisServer({ cacheDir: defaultConfig().cacheDir, path: readEnvironment().path, say });
    if (found.kind !== "binary")
      throw new Error("expected a Redis server on this machine: a container's cannot be killed");
    await mkdir(folder);
    const redis = new DurableRedis(found.command, await freePort(), folder);
    await redis.start();
    return redis;
  }

  /** On what it has kept; resolves when it answers. */
  async start(): Promise<void> {
    const [program, ...args] = [...this.#command, ...this.#settings];
    this.#server = spawn(program!, args, { stdio: ["ignore", "ignore", 2] });
    const until = performance.now() + READY_MS;
    for (;;) {
      try {
        const redis = await openRedis({ url: this.url }, "producer");
        await redis.ping().finally(() => redis.disconnect());
        return;
      } catch (error) {
        if (performance.now() > until) throw error;
        await delay(LOOK_MS);
      }
    }
  }

  /** `kill -9` */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill("SIGKILL");
    await ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
