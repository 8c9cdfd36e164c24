import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { messageOf, systemCode } from "../../errors.ts";
import { retry } from "../../retry/retry.ts";
import { findOnPath, probeServer, type ServerBinary } from "./binary.ts";
import { runChild } from "./child.ts";

const APT_TIMEOUT_MS = 120_000;
const UNPACK_TIMEOUT_MS = 30_000;
/** A folder that was being filled and is older than this belongs to a process that died. */
const ABANDONED_MS = 3_600_000;
/** Two renames take far less. */
const EXCHANGE_MS = 50;
const EXCHANGE_TRIES = 10;

/**
 * Without locks and without a change of user, since everything is ours; without the machine's hooks, which would clean its
 * own package cache; without translations and catalogs, which nobody reads here.
 */
const APT_CONFIG = `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
Debug::NoLocking "1";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
`;

export type SearchOptions = {
  /** Folder of this user for what is kept between starts; made if it is not there. */
  cacheDir: string;
  /** Where `apt-get` and `dpkg-deb` are looked up, in the form of PATH. */
  path: string;
  /** Told before anything is fetched; what it throws keeps it from being fetched, and that way is closed. */
  say: (line: string) => void;
};

/**
 * The distribution's own `redis-server`, out of the cache, or downloaded and unpacked into it: nothing is installed, no
 * service is started, no root is needed. Throws an Error that says why this way is closed.
 */
export async function findDebianServer(options: SearchOptions): Promise<ServerBinary> {
  const system = parseOsRelease(await readOsRelease());
  if (!system.isDebian) throw new Error(`this system is ${system.name}`);
  const target = path.join(options.cacheDir, `redis-${system.release}-${process.arch}`);
  try {
    return await probeUnpacked(target);
  } catch {
    return await unpack(target, system.name, options);
  }
}

/** What `/etc/os-release` says: the name for people, a short name of the release, and whether it is Debian or a child of it. */
export function parseOsRelease(text: string): { name: string; release: string; isDebian: boolean } {
  const values = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^([A-Z_]+)=["']?([^"']*)["']?\s*$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) values.set(key, value);
  }
  const id = values.get("ID") ?? "";
  const version = values.get("VERSION_ID") ?? values.get("VERSION_CODENAME") ?? "rolling";
  return {
    name: values.get("PRETTY_NAME") ?? (id || process.platform),
    release: `${id}-${version}`.replaceAll(/[^A-Za-z0-9.-]/g, "-"),
    isDebian: [id, ...(values.get("ID_LIKE") ?? "").split(" ")].some((name) => name === "debian" || name === "ubuntu"),
  };
}

async function readOsRelease(): Promise<string> {
  try {
    return await readFile("/etc/os-release", "utf8");
  } catch {
    return ""; // Not a Linux system, or one that does not say: not Debian either way.
  }
}

/** The server in an unpacked tree, with the libraries that came along; they are for this child only. */
async function probeUnpacked(root: string): Promise<ServerBinary> {
  const folders: string[] = [];
  for (const lib of ["usr/lib", "lib"]) {
    const names = await readdir(path.join(root, lib)).catch(() => []);
    folders.push(...names.filter((name) => name.includes("-linux-")).map((name) => path.join(root, lib, name)));
  }
  const server = path.join(root, "usr/bin/redis-server");
  return await probeServer(["/usr/bin/env", `LD_LIBRARY_PATH=${folders.join(":")}`, server]);
}

/** Fills a folder aside and renames it, so that `target` is whole or not there, whoever else does the same or is killed. */
async function unpack(target: string, systemName: string, options: SearchOptions): Promise<ServerBinary> {
  const [apt] = await findOnPath("apt-get", options.path);
  const [dpkg] = await findOnPath("dpkg-deb", options.path);
  if (apt === undefined || dpkg === undefined) throw new Error("no apt-get and dpkg-deb on the PATH");
  options.say(
    `No Redis server on the PATH: unpacking the redis-server package of ${systemName} into ${options.cacheDir} ` +
      "(once, about 10 MB to download; nothing is installed)",
  );
  await mkdir(options.cacheDir, { recursive: true, mode: 0o700 });
  await removeAbandoned(target);
  const aside = await mkdtemp(`${target}.aside-`);
  try {
    const packages = await download(apt, aside);
    const root = path.join(aside, "root");
    await mkdir(root);
    for (const file of packages) await runChild([dpkg, "-x", file, root], UNPACK_TIMEOUT_MS);
    await probeUnpacked(root);
    await moveInto(target, root, path.join(aside, "broken"));
    return await probeMoved(target);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** The files of the server's packages and of those libraries that the system does not have. */
async function download(apt: string, aside: string): Promise<string[]> {
  const archives = path.join(aside, "archives");
  await mkdir(path.join(archives, "partial"), { recursive: true });
  await mkdir(path.join(aside, "lists/partial"), { recursive: true });
  const config = path.join(aside, "apt.conf");
  await writeFile(config, APT_CONFIG);
  const places = ["-o", `Dir::State::Lists=${path.join(aside, "lists")}`, "-o", `Dir::Cache=${aside}`];
  const base = [apt, "-c", config, ...places, "-qq", "-y"];
  // One broken source among many makes the update fail; whether what we need is there, the next step tells.
  const trouble = await runChild([...base, "update"], APT_TIMEOUT_MS).then(() => "", messageOf);
  // The server's program is in redis-tools. Both are named, and taken again where the system has one of them already.
  const wanted = [
    "--no-install-recommends",
    "--reinstall",
    "--download-only",
    "install",
    "redis-server",
    "redis-tools",
  ];
  try {
    await runChild([...base, ...wanted], APT_TIMEOUT_MS);
  } catch (error) {
    throw new Error(trouble || messageOf(error), { cause: error });
  }
  const names = await readdir(archives);
  return names.filter((name) => name.endsWith(".deb")).map((name) => path.join(archives, name));
}

/** Renames `root` to `target`, unless a whole tree is there by now; a broken one is moved to `broken`. */
async function moveInto(target: string, root: string, broken: string): Promise<void> {
  const probed = await stat(target).catch(unless("ENOENT"));
  try {
    await probeUnpacked(target);
    return;
  } catch {
    await rename(target, broken).catch(unless("ENOENT"));
    const moved = await stat(broken).catch(unless("ENOENT"));
    // Since it was probed, another process has put its own whole tree there.
    if (moved && moved.ino !== probed?.ino) await rename(broken, target).catch(unless("ENOTEMPTY", "EEXIST"));
  }
  await rename(root, target).catch(unless("ENOTEMPTY", "EEXIST")); // Another process was first: its tree stands.
}

/** A whole tree is at `target`, but for the moment in which another process puts its own there. */
async function probeMoved(target: string): Promise<ServerBinary> {
  const backoff = { firstMs: EXCHANGE_MS, maxMs: EXCHANGE_MS };
  return await retry(() => probeUnpacked(target), { tries: EXCHANGE_TRIES, backoff });
}

/** Swallows the system errors of these codes. */
function unless(...codes: string[]): (error: unknown) => undefined {
  return (error) => {
    if (!codes.includes(systemCode(error) ?? "")) throw error;
    return undefined;
  };
}

async function removeAbandoned(target: string): Promise<void> {
  const folder = path.dirname(target);
  const names = await readdir(folder);
  for (const name of names.filter((name) => name.startsWith(`${path.basename(target)}.aside-`))) {
    const aside = path.join(folder, name);
    const modified = await stat(aside).then(
      (found) => found.mtimeMs,
      () => Number.POSITIVE_INFINITY,
    );
    if (Date.now() - modified > ABANDONED_MS) await rm(aside, { recursive: true, force: true });
  }
}
