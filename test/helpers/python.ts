/** Python programs for tests, each in its own virtual environment, which is made once. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { testCacheDir } from "./servers/redis.ts";

/**
 * Makes a virtual environment with these packages in the cache folder, unless it exists.
 * @param say reports that an installation starts
 * @throws Error with the last line of the failed command: no Python 3, no venv, no network
 * @returns the path of its Python
 */
export async function pythonWith(
  name: string,
  packages: readonly string[],
  say: (line: string) => void,
): Promise<string> {
  const place = join(testCacheDir(), name);
  const python = join(place, "bin", "python");
  if (await isThere(python)) return python;
  say(`installing ${packages[0]} for the tests (once) …`);
  await makeAside(place, async (folder) => {
    // The scripts of the packages contain the path of the temporary folder, so only Python itself is used.
    const own = join(folder, "bin", "python");
    await succeed("python3", ["-m", "venv", folder]);
    await succeed(own, ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-q", ...packages]);
    return folder;
  });
  return python;
}

/** Makes a file or folder under a temporary name and renames it, so that no process sees half of it. If two processes make it, one remains. */
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

/** Runs a program to its end. @param cwd default: the folder of this process. @returns the exit code, null if it could not start, and the end of its output */
export function runProgram(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
  cwd?: string,
): Promise<{ code: number | null; output: string }> {
  return new Promise((done) => {
    const child = spawn(program, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
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
