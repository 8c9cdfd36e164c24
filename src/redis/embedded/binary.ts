import { access, constants, stat } from "node:fs/promises";
import path from "node:path";
import { isSupported, OLDEST_VERSION } from "../version.ts";
import { runChild } from "./child.ts";

/** A server that runs as a child: `command` is the program and its first arguments. */
export type ServerBinary = { kind: "binary"; command: readonly string[]; version: string };

const PROBE_TIMEOUT_MS = 10_000;

/** The server behind `command`, once it ran and said its version. Throws an Error that says why it does not serve. */
export async function probeServer(command: readonly string[]): Promise<ServerBinary> {
  const output = await runChild([...command, "--version"], PROBE_TIMEOUT_MS);
  const version = /\bv=(\d+(?:\.\d+)+)/.exec(output)?.[1];
  const program = command.at(-1);
  if (version === undefined) throw new Error(`${program} --version does not answer like a Redis server`);
  if (!isSupported(version)) throw new Error(`${program} is version ${version}, ${OLDEST_VERSION} or newer is needed`);
  return { kind: "binary", command, version };
}

/** The executable files called `name` in the folders of `searchPath` (in the form of PATH), in its order. */
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
