/** Finds what a test run left behind: processes (Linux only, by an environment variable) and files. */
import { readdirSync, readFileSync } from "node:fs";

/** A process whose parent was just killed needs a moment to notice. */
const GRACE_MS = 3_000;
const POLL_MS = 50;

/** Whether this system lets us look into the environment of our processes. */
export const canSeeProcesses = process.platform === "linux";

/**
 * The living processes, other than this one, with `marker` in their environment or command line.
 * @param {string} marker
 * @returns {{pid: number, parent: number, command: string}[]}
 */
export function markedProcesses(marker) {
  if (!canSeeProcesses) return [];
  const found = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim();
      if (!command.includes(marker) && !readFileSync(`/proc/${name}/environ`, "utf8").includes(marker)) continue;
      // The second field is the program's name in parentheses, and may hold blanks.
      const fields = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1).split(" ");
      found.push({ pid, parent: Number(fields[1]), command });
    } catch {
      // It ended meanwhile, or is not ours to look into.
    }
  }
  return found;
}

/**
 * Waits for the marked processes to end and kills those that do not.
 * @param {string} marker
 * @returns {Promise<string[]>} what had to be killed, in words
 */
export async function sweepProcesses(marker) {
  const deadline = Date.now() + GRACE_MS;
  let left = markedProcesses(marker);
  while (left.length > 0 && Date.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    left = markedProcesses(marker);
  }
  for (const { pid } of left) kill(pid);
  return left.map(({ pid, command }) => `process ${pid} was still running: ${command.slice(0, 200)}`);
}

/** @param {number} pid */
export function kill(pid) {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended meanwhile.
  }
}

/**
 * @param {string} folder
 * @returns {string[]} what lies in the folder, in words
 */
export function leftFiles(folder) {
  return readdirSync(folder).map((name) => `${name} was left in the temporary folder`);
}
