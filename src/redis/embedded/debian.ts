import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { messageOf, systemCode } from "../../errors.ts";
import { retry } from "../../retry/retry.ts";
import { findOnPath, probeServer, type ServerBinary } from "./binary.ts";
import { runChild } from "./child.ts";

const APT_TIMEOUT_MS = 120_000;
const UNPACK_TIMEOUT_MS = 30_000;
/** An unfinished folder that is older than this belongs to a process that died. */
const ABANDONED_MS = 3_600_000;
/** The pause between checks while another process renames its folders, which takes far less. */
const EXCHANGE_MS = 50;
const EXCHANGE_TRIES = 10;

/**
 * Without locks and without a change of user, because all files are in our folder. Without the machine's hooks, which would
 * clean its own package cache. Without translations and catalogs, which are not needed.
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
  /** A folder of this user that is kept between starts. Created if it does not exist. */
  cacheDir: string;
  /** The folders with `apt-get` and `dpkg-deb`, in the format of PATH. */
  path: string;
  /** Called with a line for the user before a download. If it throws, the download does not happen. */
  say: (line: string) => void;
};

/**
 * The `redis-server` of the distribution, from the cache or downloaded and unpacked into it. It is not installed, starts no
 * service and needs no root.
 * @throws Error with the reason if it is not available
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

/** Parses `/etc/os-release`: the name for messages, a short name of the release, and whether it is Debian or a derivative. */
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
    return ""; // No Linux, or no such file: not Debian in both cases.
  }
}

/** The server in an unpacked tree, with the libraries of the tree, which only this child process uses. */
async function probeUnpacked(root: string): Promise<ServerBinary> {
  const folders: string[] = [];
  for (const lib of ["usr/lib", "lib"]) {
    const names = await readdir(path.join(root, lib)).catch(() => []);
    folders.push(...names.filter((name) => name.includes("-linux-")).map((name) => path.join(root, lib, name)));
  }
  const server = path.join(root, "usr/bin/redis-server");
  return await probeServer(["/usr/bin/env", `LD_LIBRARY_PATH=${folders.join(":")}`, server]);
}

/** Unpacks into a temporary folder and renames it. So `target` is complete or missing, even with concurrent or killed processes. */
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

/** Downloads the packages of the server, and of the libraries that the system lacks. @returns their files */
async function download(apt: string, aside: string): Promise<string[]> {
  const archives = path.join(aside, "archives");
  await mkdir(path.join(archives, "partial"), { recursive: true });
  await mkdir(path.join(aside, "lists/partial"), { recursive: true });
  const config = path.join(aside, "apt.conf");
  await writeFile(config, APT_CONFIG);
  const places = ["-o", `Dir::State::Lists=${path.join(aside, "lists")}`, "-o", `Dir::Cache=${aside}`];
  const base = [apt, "-c", config, ...places, "-qq", "-y"];
  // One broken source makes the update fail. The next step shows whether the needed packages are available.
  const updateError = await runChild([...base, "update"], APT_TIMEOUT_MS).then(() => "", messageOf);
  // The program of the server is in redis-tools. `--reinstall` downloads both even if the system has one of them.
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
    throw new Error(updateError || messageOf(error), { cause: error });
  }
  const names = await readdir(archives);
  return names.filter((name) => name.endsWith(".deb")).map((name) => path.join(archives, name));
}

/** Renames `root` to `target`, unless a complete tree exists there by now. A broken tree is moved to `broken`. */
async function moveInto(target: string, root: string, broken: string): Promise<void> {
  const probed = await stat(target).catch(unless("ENOENT"));
  try {
    await probeUnpacked(target);
    return;
  } catch {
    await rename(target, broken).catch(unless("ENOENT"));
    const moved = await stat(broken).catch(unless("ENOENT"));
    // Another process has put its complete tree there after the check.
    if (moved && moved.ino !== probed?.ino) await rename(broken, target).catch(unless("ENOTEMPTY", "EEXIST"));
  }
  await rename(root, target).catch(unless("ENOTEMPTY", "EEXIST")); // Another process was first: its tree is used.
}

/** Checks the tree at `target`. Repeats the check, because another process may be replacing the tree at this moment. */
async function probeMoved(target: string): Promise<ServerBinary> {
  const backoff = { firstMs: EXCHANGE_MS, maxMs: EXCHANGE_MS };
  return await retry(() => probeUnpacked(target), { tries: EXCHANGE_TRIES, backoff });
}

/** An error handler that ignores system errors with these codes. */
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
