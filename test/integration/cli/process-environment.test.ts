import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { promisify } from "node:util";

const CONFIG = new URL("../../../src/config.ts", import.meta.url).href;
const CLI = new URL("../../../src/cli.ts", import.meta.url).pathname;
const NAMES = ["UV_THREADPOOL_SIZE", "ORT_DISABLE_TELEMETRY"];

/** Runs Node without the variables that the command sets, except for `variables`. */
async function run(args: string[], variables: NodeJS.ProcessEnv = {}): Promise<{ stdout: string; stderr: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !NAMES.includes(name)));
  return promisify(execFile)(process.execPath, args, { env: { ...env, ...variables } });
}

test("importing config.ts changes nothing in the environment", async () => {
  const program = `
    const before = { ...process.env };
    const { prepareProcess } = await import(${JSON.stringify(CONFIG)});
    const imported = { ...process.env };
    prepareProcess();
    console.log(JSON.stringify({ before, imported, prepared: { ...process.env } }));`;
  const { stdout } = await run(["--input-type=module", "--eval", program]);
  const { before, imported, prepared } = JSON.parse(stdout);
  assert.deepEqual(imported, before);
  assert.deepEqual(
    Object.keys(prepared).filter((name) => !(name in before)),
    NAMES,
  );
});

/** Reports the variables when the command loads its program, which is before anything uses libuv's pool or loads onnxruntime. */
const REPORT = `
  import { registerHooks } from "node:module";
  registerHooks({
    load(url, context, next) {
      const values = ${JSON.stringify(NAMES)}.map((name) => process.env[name]);
      if (url.endsWith("/src/cli/program.ts")) process.stderr.write(JSON.stringify(values) + "\\n");
      return next(url, context);
    },
  });`;

test("the command sets the size of libuv's pool and turns telemetry off before it loads its program", async () => {
  const args = ["--import", `data:text/javascript,${encodeURIComponent(REPORT)}`, CLI, "--version"];
  const size = String(Math.max(4, availableParallelism() + 2));
  assert.deepEqual(JSON.parse((await run(args)).stderr), [size, "1"]);
  const own = { UV_THREADPOOL_SIZE: "7", ORT_DISABLE_TELEMETRY: "0" };
  assert.deepEqual(JSON.parse((await run(args, own)).stderr), ["7", "0"], "the values of the user stay");
});
