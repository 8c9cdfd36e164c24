/** Python programs that look at labelmill from outside: each in a virtual environment of its own, made once. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { testCacheDir } from "./servers/redis.ts";

/**
 * The Python of a virtual environment in the cache folder that has these packages, made where it is not there.
 * @param say told when that takes long
 * @throws Error with the last line of what failed: no Python 3, no venv, no network
 */
export async function pythonWith(
  name: string,
  packages: readonly string[],
  say: (line: string) => void,
): Promise<string> {
  const place = join(testCacheDir(), name);
  const python = join(place, "bin", "python");
  if (await isThere(python)) return python;
  say(`installing ${packages[0]} for the tests, once …`);
  await makeAside(place, async (folder) => {
    // The programs of the packages name the folder they were made in, so they are never called: only Python itself is.
    const own = join(folder, "bin", "python");
    await succeed("python3", ["-m", "venv", folder]);
    await succeed(own, ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-q", ...packages]);
    return folder;
  });
  return python;
}

/** Makes something beside its place and renames it there: nobody sees half of it, and of two that make it one stays. */
export async function makeAside(place: string, make: (folder: string) => Promise<string>): Promise<void> {
  await mkdir(testCacheDir(), { recursive: true });
  const folder = await mkdtemp(`${place}.${randomBytes(4).toString("hex")}`);
  try {
    const made = await make(folder);
    await rename(made, place).catch(async (error: unknown) => {
      if (!(await isThere(place))) throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a program to its end. @returns its exit code, null where it could not be started, and the end of what it said */
export function runProgram(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ code: number | null; output: string }> {
  return new Promise((done) => {
    const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output = (output + text).slice(-10_000);
      });
    }
    child.on("error", (error) => done({ code: null, output: error.message }));
    child.on("close", (code) => done({ code, output }));
  });
}

async function succeed(program: string, args: readonly string[]): Promise<void> {
  const { code, output } = await runProgram(program, args);
  if (code !== 0) throw new Error(output.trim().split("\n").at(-1) || `${program} ended with exit code ${code}`);
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
