import { spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { LabelmillError, messageOf } from "../../errors.ts";
import { connectRedis, type RedisAddress } from "../connect.ts";
import { within } from "../deadline.ts";
import { lastWords } from "./child.ts";
import type { SearchOptions } from "./debian.ts";
import { findRedisServer } from "./find.ts";
import { type Launch, launchBinary, launchContainer } from "./launch.ts";

/** A running server of this command's own. */
export type EmbeddedRedis = {
  address: RedisAddress;
  /** The server's process (of a container, its client's), which leads a process group of its own. */
  pid: number;
  /** Settles with the reason when the server is gone, whoever ended it. */
  ended: Promise<string>;
  /** Ends the server and removes what it used. May be called again. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const OUTPUT_KEPT = 4_000;
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * Starts an empty server that keeps nothing on disk and ends with this process, however that ends. Ready when it answers.
 * Throws REDIS_MISSING when no server is found, REDIS_UNREACHABLE with the server's last words when it does not start.
 */
export async function startEmbeddedRedis(options: SearchOptions): Promise<EmbeddedRedis> {
  const server = await findRedisServer(options);
  const launch = server.kind === "binary" ? await launchBinary(server) : await launchContainer(server);
  const { pid, ended, output, close } = start(launch);
  const probe = connectRedis(launch.address, "worker"); // A worker's command waits while the server is not there yet.
  try {
    await within(launch.readyMs, Promise.race([probe.ping(), ended.then(refuse)]));
  } catch (error) {
    await close();
    const name = server.kind === "binary" ? server.command.at(-1) : server.image;
    throw new LabelmillError(
      "REDIS_UNREACHABLE",
      `Expected ${name} to start and answer; ${messageOf(error)}${lastWords(output())}. ` +
        "Set REDIS_URL to a server that runs, to do without this one.",
      { cause: error },
    );
  } finally {
    probe.disconnect();
  }
  return { address: launch.address, pid, ended, close, [Symbol.asyncDispose]: close };
}

/**
 * The server's shell: a watcher in the background waits for the end of the pipe on descriptor 3, which this process holds
 * open and the kernel closes when it dies, `kill -9` included; then it cleans up and kills its own process group, so no
 * process id can be mistaken. The server takes the shell's place. Interrupts of a terminal never reach the group.
 */
function shellOf(cleanup: string): string {
  return `trap '' HUP INT
(read -r line <&3; ${cleanup} >/dev/null 2>&1; kill -s KILL 0) &
shift
exec "$@" 3<&-`;
}

function start(launch: Launch) {
  const args = ["-c", shellOf(launch.cleanup), "labelmill", launch.leftover, ...launch.command];
  const child = spawn("/bin/sh", args, { detached: true, stdio: ["pipe", "pipe", "pipe", "pipe"] });
  const lifeline = child.stdio[3] as Writable;
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-OUTPUT_KEPT);
    });
  }
  // A server that ends at once breaks these pipes; its end is told by `ended`.
  for (const stream of [child.stdin, lifeline]) stream.on("error", () => {});
  child.stdin.end(launch.input);

  // The watcher holds the output pipes too: `close` says that the server and the watcher are gone.
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  child.once("error", (error) => resolve(error.message));
  child.once("exit", () => lifeline.destroy());
  child.once("close", (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`));
  const close = async () => {
    lifeline.destroy();
    const forced = setTimeout(() => child.kill("SIGKILL"), CLOSE_TIMEOUT_MS); // Somebody ended the watcher.
    await ended;
    clearTimeout(forced);
  };
  return { pid: child.pid ?? 0, ended, output: () => output, close };
}

function refuse(reason: string): never {
  throw new Error(reason);
}
