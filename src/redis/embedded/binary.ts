import { access, constants, stat } from "node:fs/promises";
import path from "node:path";
import { isSupported, OLDEST_VERSION } from "../version.ts";
import { runChild } from "./child.ts";

/** A server that runs as a child process. `command` is the program and its first arguments. */
export type ServerBinary = { kind: "binary"; command: readonly string[]; version: string };

const PROBE_TIMEOUT_MS = 10_000;

/** Runs `command` to read its version. @throws Error with the reason if it is not a supported server */
export async function probeServer(command: readonly string[]): Promise<ServerBinary> {
  const output = await runChild([...command, "--version"], PROBE_TIMEOUT_MS);
  const version = /\bv=(\d+(?:\.\d+)+)/.exec(output)?.[1];
  const program = command.at(-1);
  if (version === undefined) throw new Error(`${program} --version does not print the version of a Redis server`);
  if (!isSupported(version))
    throw new Error(`expected version ${OLDEST_VERSION} or newer of ${program}, got ${version}`);
  return { kind: "binary", command, version };
}

/** The executable files with this name in the folders of `searchPath` (in the format of PATH), in its order. */
export async function findOnPath(name: string, searchPath: string): Promise<string[]> {
  const candidates = searchPath
    .split(path.delimiter)
    .filter((folder) => path.isAbsolute(folder))
    .map((folder) => path.join(folder, name));
  const found = await Promise.all(candidates.map(isExecutable));
  return candidates.filter((_, index) => found[index]);
}

async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return (await stat(file)).isFile();
  } catch {
    return false;
  }
}
