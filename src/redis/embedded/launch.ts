import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp } from "node:fs/promises";
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
  /** The file that is locked while the server runs. */
  lock?: string;
  /** Maximum time from the start to the first reply, in milliseconds. */
  readyMs: number;
};

/** Systems allow 104 (macOS) or 108 (Linux) bytes for the path of a socket, including its final NUL. */
const SOCKET_PATH_MAX = 103;

/** Where a server keeps its data, so that a later one continues with it. */
export type ServerData = {
  /** A folder on a local file system, which is made if it does not exist. */
  folder: string;
  /** When a write is on the disk: within a second, or before its reply. The death of the server alone costs nothing with either. */
  fsync: "everysec" | "always";
};

/** The time in which a server reads a large append-only file. */
const LOADING_MS = 300_000;

/** Nothing is evicted. Without `data` nothing is saved: the output is the record of finished work. */
function settingsOf(data: ServerData | undefined): [name: string, value: string][] {
  return [
    ["save", ""],
    ["appendonly", data ? "yes" : "no"],
    // The death of a machine cuts the last entry of the file: everything before it is kept.
    ...(data
      ? [
          ["appendfsync", data.fsync] satisfies [string, string],
          ["aof-load-truncated", "yes"] satisfies [string, string],
        ]
      : []),
    ["maxmemory-policy", "noeviction"],
    ["loglevel", "warning"],
  ];
}

/** A binary listens on a unix socket in a new folder that only this user can open. */
export async function launchBinary(server: ServerBinary, data?: ServerData): Promise<Launch> {
  const folder = await makeFolder();
  const socket = path.join(folder, "redis.sock");
  const place = ["--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--dir", data?.folder ?? folder];
  return {
    address: { socket },
    command: [...server.command, ...place, ...settingsOf(data).flatMap(([name, value]) => [`--${name}`, value])],
    ...(await lockOf(data)),
    input: "",
    leftover: folder,
    cleanup: 'rm -rf "$1"',
    readyMs: data ? LOADING_MS : 10_000,
  };
}

/** Makes the folder of the data. Only this user can open it: Redis has the items. */
async function lockOf(data: ServerData | undefined): Promise<Pick<Launch, "lock">> {
  if (!data) return {};
  try {
    await mkdir(data.folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new LabelmillError(
      "REDIS_UNREACHABLE",
      `Expected to create ${data.folder} for the data of the Redis server; ${messageOf(error)}. Choose another --state.`,
      { cause: error },
    );
  }
  return { lock: path.join(data.folder, "lock") };
}

/**
 * A container listens on a free port of 127.0.0.1, because not every system shares a unix socket with a container. Other users
 * can connect to that port, so the server has a password. It is passed on standard input, because process lists show arguments.
 */
export async function launchContainer(server: ServerContainer, data?: ServerData): Promise<Launch> {
  const name = `labelmill-${randomBytes(8).toString("hex")}`;
  const password = randomBytes(24).toString("hex");
  const port = await freePort();
  const settings = [...settingsOf(data), ["requirepass", password]];
  // The files belong to this user, as those of a binary do.
  const user = process.getuid ? ["--user", `${process.getuid()}:${process.getgid!()}`] : [];
  const volume = data ? ["--volume", `${data.folder}:/data`, ...user] : [];
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
      ...volume,
      server.image,
      "valkey-server",
      "-",
    ],
    input: settings.map(([key, value]) => `${key} "${value}"\n`).join(""),
    leftover: name,
    // The client first: a client that is still alive could start the container afterwards.
    cleanup: 'kill -s KILL $$; "$2" rm --force "$1"',
    ...(await lockOf(data)),
    readyMs: data ? LOADING_MS : 60_000,
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
