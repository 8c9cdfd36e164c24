import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { LabelmillError, messageOf } from "../../errors.ts";
import type { RedisAddress } from "../connect.ts";
import type { ServerBinary } from "./binary.ts";
import type { ServerContainer } from "./container.ts";

/** How to start a server, as data. */
export type Launch = {
  address: RedisAddress;
  /** The program and its arguments. */
  command: readonly string[];
  /** The standard input of the server. */
  input: string;
  /** What remains after the server, and the shell command that removes it. `"$1"` is `leftover`, `"$2"` the program. */
  leftover: string;
  cleanup: string;
  /** Maximum time from the start to the first reply, in milliseconds. */
  readyMs: number;
};

/** Systems allow 104 (macOS) or 108 (Linux) bytes for the path of a socket, including its final NUL. */
const SOCKET_PATH_MAX = 103;

/** Nothing is saved and nothing is evicted: the output is the record of finished work. */
const SETTINGS = [
  ["save", ""],
  ["appendonly", "no"],
  ["maxmemory-policy", "noeviction"],
  ["loglevel", "warning"],
] as const;

/** A binary listens on a unix socket in a new folder that only this user can open. */
export async function launchBinary(server: ServerBinary): Promise<Launch> {
  const folder = await makeFolder();
  const socket = path.join(folder, "redis.sock");
  const place = ["--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", folder];
  return {
    address: { socket },
    command: [...server.command, ...place, ...SETTINGS.flatMap(([name, value]) => [`--${name}`, value])],
    input: "",
    leftover: folder,
    cleanup: 'rm -rf "$1"',
    readyMs: 10_000,
  };
}

/**
 * A container listens on a free port of 127.0.0.1, because not every system shares a unix socket with a container. Other users
 * can connect to that port, so the server has a password. It is passed on standard input, because process lists show arguments.
 */
export async function launchContainer(server: ServerContainer): Promise<Launch> {
  const name = `labelmill-${randomBytes(8).toString("hex")}`;
  const password = randomBytes(24).toString("hex");
  const port = await freePort();
  const settings = [...SETTINGS, ["requirepass", password]];
  const publish = ["--publish", `127.0.0.1:${port}:6379`];
  return {
    address: { url: `redis://:${password}@127.0.0.1:${port}` },
    command: [
      server.docker,
      "run",
      "--rm",
      "--interactive",
      "--name",
      name,
      ...publish,
      server.image,
      "valkey-server",
      "-",
    ],
    input: settings.map(([key, value]) => `${key} "${value}"\n`).join(""),
    leftover: name,
    // The client first: a client that is still alive could start the container afterwards.
    cleanup: 'kill -s KILL $$; "$2" rm --force "$1"',
    readyMs: 60_000,
  };
}

async function makeFolder(): Promise<string> {
  const [preferred, short] = [path.join(tmpdir(), "labelmill-"), "/tmp/labelmill-"];
  const fits = Buffer.byteLength(`${preferred}XXXXXX/redis.sock`) <= SOCKET_PATH_MAX;
  const prefix = fits ? preferred : short;
  try {
    return await mkdtemp(prefix);
  } catch (error) {
    throw new LabelmillError(
      "REDIS_UNREACHABLE",
      `Expected to create a folder for the socket of the Redis server; ${messageOf(error)}. Set TMPDIR to a folder that exists and is writable.`,
      { cause: error },
    );
  }
}

/** A port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
