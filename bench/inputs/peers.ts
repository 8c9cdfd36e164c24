import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { readEnvironment } from "../../src/config.ts";
import { messageOf } from "../../src/errors.ts";
import { cacheFolder } from "../config.ts";
import { isThere } from "./models.ts";

const PEERS = fileURLToPath(new URL("../peers/", import.meta.url));
const FILES = ["package.json", "package-lock.json"];

/** The folder with the packages that the pipeline is compared with, installed once, or why they are not available. */
export async function installPeers(
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<{ folder: string } | { missing: string }> {
  const lock = await readFile(join(PEERS, "package-lock.json"));
  const folder = join(cacheFolder(), `peers-${createHash("sha256").update(lock).digest("hex").slice(0, 8)}`);
  if (await isThere(folder)) return { folder };
  say("installing transformers.js into the cache folder");
  const aside = `${folder}.${process.pid}`;
  try {
    await mkdir(aside, { recursive: true });
    for (const name of FILES) await copyFile(join(PEERS, name), join(aside, name));
    await npm(["ci", "--ignore-scripts", "--no-audit", "--no-fund"], aside, signal);
    await rename(aside, folder);
    return { folder };
  } catch (error) {
    signal.throwIfAborted();
    return { missing: `transformers.js could not be installed: ${messageOf(error).trim().split("\n").at(-1)}` };
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

/** The caller's npm, without the variables that describe the project of the running script. */
async function npm(args: string[], cwd: string, signal: AbortSignal): Promise<void> {
  const { variables } = readEnvironment();
  const ofProject = /^npm_(package|lifecycle|command|config_(local_)?prefix)/;
  const env = Object.fromEntries(Object.entries(variables).filter(([name]) => !ofProject.test(name)));
  const caller = variables.npm_execpath;
  const [command, first] = caller?.endsWith("npm-cli.js") ? [process.execPath, [caller]] : ["npm", []];
  await promisify(execFile)(command, [...first, ...args], { cwd, env, signal });
}
