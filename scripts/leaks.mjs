/** Finds processes and files that a test run left behind. Processes are found by an environment variable, on Linux only. */
import { readdirSync, readFileSync } from "node:fs";

/** A process whose parent was just killed needs some time to end. */
const GRACE_MS = 3_000;
const POLL_MS = 50;

/** Whether the environment of processes can be read on this system. */
export const canSeeProcesses = process.platform === "linux";

/**
 * The running processes, other than this one, with `marker` in their environment or command line.
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
      // The second field is the program's name in parentheses. It may contain spaces.
      const fields = readFileSync(`/proc/${name}/stat`, "utf8").split(") ").at(-1).split(" ");
      found.push({ pid, parent: Number(fields[1]), command });
    } catch {
      // The process has ended, or belongs to another user.
    }
  }
  return found;
}

/**
 * Waits for the marked processes to end, and kills those that do not.
 * @param {string} marker
 * @returns {Promise<string[]>} one message for each killed process
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
    // The process has ended.
  }
}

/**
 * @param {string} folder
 * @returns {string[]} one message for each file in the folder
 */
export function leftFiles(folder) {
  return readdirSync(folder).map((name) => `${name} was left in the temporary folder`);
}
