import { spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { LabelmillError, messageOf } from "../../errors.ts";
import { connectRedis, type RedisAddress } from "../connect.ts";
import { within } from "../deadline.ts";
import { lastLines } from "./child.ts";
import type { SearchOptions } from "./debian.ts";
import { findRedisServer } from "./find.ts";
import { type Launch, launchBinary, launchContainer, type ServerData } from "./launch.ts";

/** A running server that this process has started. */
export type EmbeddedRedis = {
  address: RedisAddress;
  /** The process of the server, or of the client of its container. It leads a separate process group. */
  pid: number;
  /** Resolves with the reason when the server has ended, for any reason. */
  ended: Promise<string>;
  /** Ends the server and removes its files, except its data. May be called several times. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

const OUTPUT_KEPT = 4_000;
/** What the shell prints if another server has locked the data. */
const LOCKED = "labelmill-data-locked";
const CLOSE_TIMEOUT_MS = 5_000;

/**
 * Starts a server that ends with this process, even if the process is killed. Resolves when the server replies.
 * @param options `data`: the folder in which it keeps its data in an append-only file. Default: it is empty and keeps nothing on disk
 * @throws LabelmillError REDIS_MISSING if no server is found; REDIS_UNREACHABLE with the last output of a server that does not start;
 * STATE_LOCKED if another server uses the folder
 */
export async function startEmbeddedRedis(options: SearchOptions & { data?: ServerData }): Promise<EmbeddedRedis> {
  const { data } = options;
  const server = await findRedisServer(options);
  const launch = server.kind === "binary" ? await launchBinary(server, data) : await launchContainer(server, data);
  const { pid, ended, output, close } = start(launch);
  const probe = connectRedis(launch.address, "worker"); // The command of a worker waits until the server is ready.
  try {
    await within(launch.readyMs, Promise.race([probe.ping(), ended.then(refuse)]));
  } catch (error) {
    await close();
    if (output().includes(LOCKED))
      throw new LabelmillError(
        "STATE_LOCKED",
        `Expected ${data?.folder} to be free, got a folder that the Redis server of another process uses. Stop that process, or choose another --state.`,
      );
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
function shellOf(cleanup: string, lock: string | undefined): string {
  return `trap '' HUP INT
${lock === undefined ? "" : lockOf(lock, cleanup)}(read -r line <&3; ${cleanup} >/dev/null 2>&1; kill -s KILL 0) &
shift
exec "$@" 3<&-`;
}

/**
 * Locks a file on descriptor 9, which the server and the watcher inherit: the kernel releases the lock when both have ended. It waits 3 s:
 * the server of a killed process ends a moment later. Not every system has flock; those without it have Perl.
 */
function lockOf(file: string, cleanup: string): string {
  // 2 is LOCK_EX.
  const perl = '$SIG{ALRM} = sub { exit 1 }; alarm 3; open(FILE, ">>&=", 9) && flock(FILE, 2) or exit 1';
  return `exec 9>>'${file.replaceAll("'", "'\\''")}'
if command -v flock >/dev/null 2>&1; then flock -w 3 9 2>/dev/null || flock -n 9; else perl -e '${perl}'; fi || { echo ${LOCKED} >&2; ${cleanup}; exit 75; }
`;
}

function start(launch: Launch) {
  const args = ["-c", shellOf(launch.cleanup, launch.lock), "labelmill", launch.leftover, ...launch.command];
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
