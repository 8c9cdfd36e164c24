/**
 * Makes the checkout ready: the dependencies of package-lock.json, and with them the pinned Node. Does nothing, in no time and
 * without network, when they are there. Plain JavaScript that old Nodes can read, so that they get a sentence, not a stack.
 * Writes to standard error only and leaves standard input alone: both belong to the command that follows.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What labelmill runs on, and what is enough to install that. */
const NEEDED_NODE = 24;
const SETUP_NODE = [20, 20];
const LOCK_POLL_MS = 200;
/** A set-up takes well under a minute; a lock that is held longer is held by a process that only has the same id. */
const LOCK_PATIENCE_MS = 10 * 60_000;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const stamp = join(modules, ".labelmill-setup");
const pinnedNode = join(modules, ".bin", "node");
// Outside node_modules, which the install empties.
const lockFolder = join(root, ".labelmill");
const lock = join(lockFolder, "setup.lock");

class SetupError extends Error {}

/** What an install depends on and what it left behind: other than the stamp says, and it has to be done again. */
function fingerprint() {
  const hash = createHash("sha256").update(`${process.platform} ${process.arch}\n`);
  for (const file of [join(root, "package-lock.json"), join(modules, ".package-lock.json")]) {
    if (!existsSync(file)) return undefined;
    hash.update(readFileSync(file));
  }
  return hash.digest("hex");
}

function isInstalled() {
  return existsSync(stamp) && readFileSync(stamp, "utf8") === fingerprint();
}

/** Refuses a Node that cannot run labelmill, when the install brought none that can. */
function checkNode() {
  if (!existsSync(pinnedNode)) {
    if (Number(process.versions.node.split(".")[0]) >= NEEDED_NODE) return;
    throw new SetupError(
      `labelmill needs Node ${NEEDED_NODE} and this is ${process.versions.node}. It brings its own on x64 Linux only ` +
        `(here: ${process.platform} ${process.arch}): install Node ${NEEDED_NODE} or newer, then run the command again.`,
    );
  }
  if (process.execPath === realpathSync(pinnedNode)) return;
  const answer = spawnSync(pinnedNode, ["--version"], { encoding: "utf8" });
  const version = (answer.stdout || "").trim();
  if (Number(version.slice(1).split(".")[0]) >= NEEDED_NODE) return;
  const cause = answer.error ? answer.error.message : version || (answer.stderr || "").trim();
  throw new SetupError(
    `The Node in ${pinnedNode} does not run here as version ${NEEDED_NODE} (${cause}). labelmill needs x64 Linux with glibc, ` +
      `or a Node ${NEEDED_NODE} of your own on another system.`,
  );
}

function processLives(pid) {
  try {
    // Dead, but not yet buried by its parent: in containers that may never happen.
    if (/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) return false;
  } catch {
    // No such process, or no /proc here.
  }
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

function readLock() {
  try {
    return readFileSync(lock, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Takes the lock in one step, its content included: nobody ever reads an empty one. */
function tryLock() {
  const mine = `${lock}.${process.pid}`;
  mkdirSync(lockFolder, { recursive: true });
  writeFileSync(mine, String(process.pid));
  try {
    linkSync(mine, lock);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Puts a dead process's lock out of the way. Of two that try, the rename lets one have it. */
function dropStaleLock(holder) {
  const aside = `${lock}.${process.pid}.stale`;
  try {
    renameSync(lock, aside);
    // Somebody was faster and this is their new lock: it goes back.
    if (readFileSync(aside, "utf8") !== holder) linkSync(aside, lock);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** True once the lock is ours; false if, while we waited, another set-up did the work. */
async function acquireLock() {
  const deadline = Date.now() + LOCK_PATIENCE_MS;
  let told = false;
  while (!tryLock()) {
    const holder = readLock();
    if (holder !== undefined && !processLives(Number(holder))) {
      dropStaleLock(holder);
      continue;
    }
    if (Date.now() > deadline) {
      throw new SetupError(`Another set-up (process ${holder}) does not end. If it is not one, remove ${lock}`);
    }
    if (!told) process.stderr.write(`labelmill: waiting for another set-up (process ${holder}) …\n`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, LOCK_POLL_MS));
    if (isInstalled()) return false;
  }
  return true;
}

function releaseLock() {
  rmSync(lock, { force: true });
  try {
    rmdirSync(lockFolder);
  } catch {
    // Not empty: others keep things there too.
  }
}

/** Runs the caller's own npm and resolves to its exit code and all it said. A signal to us is handed on and waited for. */
function npm(args) {
  const caller = process.env.npm_execpath || "";
  const isNpm = basename(caller) === "npm-cli.js";
  // The caller's own Node, for the one in node_modules goes away while npm works.
  const command = isNpm ? process.env.npm_node_execpath || process.execPath : "npm";
  return new Promise((resolve, reject) => {
    const child = spawn(command, isNpm ? [caller, ...args] : args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    const forward = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, forward);
    const output = [];
    child.stdout.on("data", (chunk) => output.push(chunk));
    child.stderr.on("data", (chunk) => output.push(chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      for (const each of signals) process.off(each, forward);
      resolve({
        failure: signal || (code === 0 ? undefined : `exit code ${code}`),
        output: Buffer.concat(output).toString(),
      });
    });
  });
}

async function install() {
  const began = Date.now();
  process.stderr.write("labelmill: installing dependencies (once, and again when package-lock.json changes) …");
  rmSync(stamp, { force: true });
  let result;
  try {
    result = await npm(["ci", "--include=optional", "--include=dev", "--loglevel=warn"]);
  } catch (error) {
    result = { failure: error.message, output: "" };
  }
  if (result.failure) {
    process.stderr.write(`\n${result.output}`);
    throw new SetupError(`\`npm ci\` failed (${result.failure}); what it said is above.`);
  }
  process.stderr.write(` ${((Date.now() - began) / 1000).toFixed(1)} s\n`);
  writeFileSync(stamp, fingerprint() || "");
}

async function main() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < SETUP_NODE[0] || (major === SETUP_NODE[0] && minor < SETUP_NODE[1])) {
    throw new SetupError(
      `labelmill needs Node ${SETUP_NODE.join(".")} or newer to set itself up, and this is ${process.versions.node}.`,
    );
  }
  if (!isInstalled() && (await acquireLock())) {
    try {
      // Again, now that nobody else installs.
      if (!isInstalled()) await install();
    } finally {
      releaseLock();
    }
  }
  checkNode();
}

main().catch((error) => {
  process.stderr.write(`labelmill: ${error instanceof SetupError ? error.message : error.stack}\n`);
  process.exitCode = 1;
});
