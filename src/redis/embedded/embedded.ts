import { spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { LabelmillError, messageOf } from "../../errors.ts";
import { connectRedis, type RedisAddress } from "../connect.ts";
import { within } from "../deadline.ts";
import { lastLines } from "./child.ts";
import type { SearchOptions } from "./debian.ts";
import { findRedisServer } from "./find.ts";
import { type Launch, launchBinary, launchContainer } from "./launch.ts";

/** A running server that this process has started. */
export type EmbeddedRedis = {
  address: RedisAddress;
  /** The process of the server, or of the client of its container. It leads a separate process group. */
  pid: number;
  /** Resolves with the reason when the server has ended, for any reason. */
  ended: Promise<string>;
  /** Ends the server and removes its files. May be called several times. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const OUTPUT_KEPT = 4_000;
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * Starts an empty server that keeps nothing on disk and ends with this process, even if the process is killed. Resolves when
 * the server replies.
 * @throws LabelmillError REDIS_MISSING if no server is found; REDIS_UNREACHABLE with the last output of a server that does not start
 */
export async function startEmbeddedRedis(options: SearchOptions): Promise<EmbeddedRedis> {
  const server = await findRedisServer(options);
  const launch = server.kind === "binary" ? await launchBinary(server) : await launchContainer(server);
  const { pid, ended, output, close } = start(launch);
  const probe = connectRedis(launch.address, "worker"); // The command of a worker waits until the server is ready.
  try {
    await within(launch.readyMs, Promise.race([probe.ping(), ended.then(refuse)]));
  } catch (error) {
    await close();
    const name = server.kind === "binary" ? server.command.at(-1) : server.image;
    throw new LabelmillError(
      "REDIS_UNREACHABLE",
      `Expected ${name} to start and reply; ${messageOf(error)}${lastLines(output())}. ` +
        "Or set REDIS_URL to a running server.",
      { cause: error },
    );
  } finally {
    probe.disconnect();
  }
  return { address: launch.address, pid, ended, close, [Symbol.asyncDispose]: close };
}

/**
 * The shell that starts the server. A watcher in the background waits for the end of the pipe on descriptor 3. This process
 * keeps the pipe open; the kernel closes it when the process dies, even by `kill -9`. Then the watcher cleans up and kills its own process
 * group, so that it cannot kill a wrong process id. The server replaces the shell. Interrupts of a terminal do not reach the group.
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
  // A server that ends immediately breaks these pipes. `ended` reports its end.
  for (const stream of [child.stdin, lifeline]) stream.on("error", () => {});
  child.stdin.end(launch.input);

  // The watcher has the output pipes open too: `close` means that the server and the watcher have ended.
  const { promise: ended, resolve } = Promise.withResolvers<string>();
  child.once("error", (error) => resolve(error.message));
  child.once("exit", () => lifeline.destroy());
  child.once("close", (code, signal) => resolve(`it ended with ${signal ?? `exit code ${code}`}`));
  const close = async () => {
    lifeline.destroy();
    const forced = setTimeout(() => child.kill("SIGKILL"), CLOSE_TIMEOUT_MS); // The watcher was killed.
    await ended;
    clearTimeout(forced);
  };
  return { pid: child.pid ?? 0, ended, output: () => output, close };
}

function refuse(reason: string): never {
  throw new Error(reason);
}
