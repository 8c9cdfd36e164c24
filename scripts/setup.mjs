/**
 * Sets up the checkout: installs the dependencies of package-lock.json, which include the pinned Node. If they are installed, it
 * does nothing and needs no network. Plain JavaScript that old versions of Node can parse, so that they print a message, not a
 * stack. Writes to standard error only and does not read standard input: the command that follows uses them.
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

/** Versions of Node: to run labelmill, and to run this set-up (major, minor). */
const NEEDED_NODE = 24;
const SETUP_NODE = [20, 20];
const LOCK_POLL_MS = 200;
/** A set-up takes less than a minute. If a lock is older, another process has got the id of its holder. */
const LOCK_PATIENCE_MS = 10 * 60_000;

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const stamp = join(modules, ".labelmill-setup");
const pinnedNode = join(modules, ".bin", "node");
// Not in node_modules: the installation empties that folder.
const lockFolder = join(root, ".labelmill");
const lock = join(lockFolder, "setup.lock");

class SetupError extends Error {}

/** Hash of what an installation depends on and of its result. If it differs from the stamp, the installation is repeated. */
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

/** Checks that the installed Node, or otherwise the caller's Node, can run labelmill. */
function checkNode() {
  if (!existsSync(pinnedNode)) {
    if (Number(process.versions.node.split(".")[0]) >= NEEDED_NODE) return;
    throw new SetupError(
      `labelmill needs Node ${NEEDED_NODE} and this is ${process.versions.node}. It installs its own on x64 Linux only ` +
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
    // A zombie: its parent has not waited for it. In containers that may never happen.
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

/** Creates the lock with its content in one step, so that no process reads an empty lock. */
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

/** Removes the lock of a dead process. If two processes try, the rename succeeds for one of them. */
function dropStaleLock(holder) {
  const aside = `${lock}.${process.pid}.stale`;
  try {
    renameSync(lock, aside);
    // Another process was faster, and this is its new lock: put it back.
    if (readFileSync(aside, "utf8") !== holder) linkSync(aside, lock);
  } catch (error) {
    if (error.code !== "ENOENT" && error.code !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Waits for the lock. @returns false if another set-up finished the installation meanwhile */
async function acquireLock() {
  const deadline = Date.now() + LOCK_PATIENCE_MS;
  let isReported = false;
  while (!tryLock()) {
    const holder = readLock();
    if (holder !== undefined && !processLives(Number(holder))) {
      dropStaleLock(holder);
      continue;
    }
    if (Date.now() > deadline) {
      throw new SetupError(
        `Another set-up (process ${holder}) does not end. If that process is not a set-up, remove ${lock}`,
      );
    }
    if (!isReported) process.stderr.write(`labelmill: waiting for another set-up (process ${holder}) …\n`);
    isReported = true;
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
    // Not empty: the folder has other files too.
  }
}

/** Runs the caller's npm. Resolves to its failure, if any, and its output. Signals are passed on to npm, and its end is waited for. */
function npm(args) {
  const caller = process.env.npm_execpath || "";
  const isNpm = basename(caller) === "npm-cli.js";
  // The caller's Node: npm removes the one in node_modules while it works.
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
    throw new SetupError(`\`npm ci\` failed (${result.failure}): see its output above.`);
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
      // Check again: another set-up may have finished before the lock was taken.
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
