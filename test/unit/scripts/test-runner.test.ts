import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const SCRIPTS = join(import.meta.dirname, "..", "..", "..", "scripts");

/** A project with only `scripts/test.mjs` and unit tests. @param files code of the tests, without imports, by file name */
function project(files: Record<string, string>) {
  const folder = mkdtempSync(join(tmpdir(), "runner "));
  mkdirSync(join(folder, "scripts"));
  mkdirSync(join(folder, "test", "unit"), { recursive: true });
  for (const name of ["test.mjs", "leaks.mjs"]) copyFileSync(join(SCRIPTS, name), join(folder, "scripts", name));
  for (const [name, code] of Object.entries(files)) {
    const imports = `import { test } from "node:test"; import assert from "node:assert"; import fs from "node:fs"; import os from "node:os";`;
    writeFileSync(join(folder, "test", "unit", `${name}.test.ts`), `${imports}\n${code}\n`);
  }
  return {
    run(...args: string[]) {
      const env = { ...process.env, REDIS_URL: "redis://caller", LABELMILL_MODEL: "caller" };
      const result = spawnSync(process.execPath, ["scripts/test.mjs", ...args], { cwd: folder, encoding: "utf8", env });
      return { ...result, last: result.stdout.trimEnd().split("\n").at(-1) };
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

test("the last line has the counts over all files", () => {
  using tree = project({
    one: `test("a", () => {}); test("b", { skip: "because" }, () => {});`,
    two: `test("c", () => {});`,
  });
  const { status, last } = tree.run("unit");
  assert.equal(last, "2 passed, 0 failed, 1 skipped");
  assert.equal(status, 0);
});

test("only the named files run", () => {
  using tree = project({ one: `test("a", () => {});`, two: `test("b", () => { assert.fail(); });` });
  assert.equal(tree.run("test/unit/one.test.ts").last, "1 passed, 0 failed, 0 skipped");
  const { status, stderr } = tree.run("three");
  assert.equal(status, 2);
  assert.match(stderr, /expected a group \(types, lint, .*\) or a test file, got three/);
});

test("a failed test, a file that exits with an error and a group without tests each fail the run", () => {
  using failing = project({ one: `test("a", () => { assert.fail(); });` });
  const failed = failing.run("unit");
  assert.deepEqual([failed.status, failed.last], [1, "0 passed, 1 failed, 0 skipped"]);
  using broken = project({ one: `test("a", () => {}); process.exit(7);` });
  assert.equal(broken.run("unit").status, 1);
  using empty = project({});
  const nothing = empty.run("unit");
  assert.deepEqual([nothing.status, nothing.last], [1, "0 passed, 1 failed, 0 skipped"]);
  assert.match(nothing.stdout, /no test in test\/unit/);
});

test("tests get a short temporary folder and a marker, but no settings of the caller", () => {
  using tree = project({
    one: `test("a", () => {
      assert.ok(os.tmpdir().length <= 30, os.tmpdir());
      assert.deepEqual(fs.readdirSync(os.tmpdir()), []);
      assert.match(process.env.LABELMILL_TEST_RUN, /^[0-9a-f]{24}$/);
      assert.equal(process.env.REDIS_URL, undefined);
      assert.equal(process.env.LABELMILL_MODEL, undefined);
    });`,
  });
  const { last, stdout } = tree.run("unit");
  assert.equal(last, "1 passed, 0 failed, 0 skipped", stdout);
});

test("a leaked file or process fails the run, is named and is removed", {
  skip: process.platform !== "linux" && "needs /proc",
}, () => {
  using tree = project({
    one: `import { spawn } from "node:child_process";
      test("leaves a file", () => { fs.writeFileSync(os.tmpdir() + "/forgotten", ""); });
      test("leaves a process", () => {
        const child = spawn("sleep", ["987"], { detached: true, stdio: "ignore" });
        child.unref();
        console.log("pid=" + child.pid + " folder=" + os.tmpdir());
      });`,
  });
  const { status, stdout, last } = tree.run("unit");
  assert.deepEqual([status, last], [1, "2 passed, 2 failed, 0 skipped"]);
  assert.match(stdout, /process \d+ was still running: sleep 987/);
  assert.match(stdout, /forgotten was left in the temporary folder/);
  const [, pid, folder] = /pid=(\d+) folder=(\S+)/.exec(stdout)!;
  // The process has ended. A zombie has no command line.
  const commandLine = `/proc/${pid}/cmdline`;
  assert.ok(!existsSync(commandLine) || readFileSync(commandLine, "utf8") === "");
  assert.ok(!existsSync(folder!));
});
