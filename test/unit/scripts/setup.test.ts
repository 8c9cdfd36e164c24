import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";

const SETUP = join(import.meta.dirname, "..", "..", "..", "scripts", "setup.mjs");
const INSTALLING = /installing dependencies/;

/** Arguments that make `process.versions.node` in the process report `version`. */
function fakeNode(version: string): string[] {
  const code = `Object.defineProperty(process, "versions", { value: { ...process.versions, node: "${version}" } })`;
  return ["--import", `data:text/javascript,${encodeURIComponent(code)}`];
}

/** A checkout whose only dependency is a folder in it, so that the real npm needs no network. Its path has spaces. */
function checkout({ pinned = "v24.21.0" }: { pinned?: string | null } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "set up é "));
  const write = (path: string, value: unknown) => writeFileSync(join(folder, path), JSON.stringify(value));
  const bin = pinned === null ? {} : { bin: { node: "node.sh" } };
  const writeLock = (comment: string) =>
    write("package-lock.json", {
      name: "checkout",
      version: "1.0.0",
      lockfileVersion: 3,
      requires: true,
      packages: {
        "": { name: "checkout", version: "1.0.0", dependencies: { own: "file:own" } },
        "node_modules/own": { resolved: "own", link: true },
        own: { version: "1.0.0", ...bin, description: comment },
      },
    });
  mkdirSync(join(folder, "scripts"));
  mkdirSync(join(folder, "own"));
  copyFileSync(SETUP, join(folder, "scripts", "setup.mjs"));
  write("package.json", { name: "checkout", version: "1.0.0", dependencies: { own: "file:own" } });
  write("own/package.json", { name: "own", version: "1.0.0", ...bin });
  writeFileSync(join(folder, "own", "node.sh"), `#!/bin/sh\necho ${pinned}\n`);
  chmodSync(join(folder, "own", "node.sh"), 0o755);
  writeLock("first");
  const lock = join(folder, ".labelmill", "setup.lock");
  return {
    folder,
    writeLock,
    lock,
    setup: join(folder, "scripts", "setup.mjs"),
    hold: (pid: number) => {
      mkdirSync(join(folder, ".labelmill"), { recursive: true });
      writeFileSync(lock, String(pid));
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function run(setup: string, { node = [], env = {} }: { node?: string[]; env?: NodeJS.ProcessEnv } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...node, setup], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

/** An environment in which npm cannot start. */
const noNpm = { npm_execpath: join("nowhere", "npm-cli.js") };

function endedPid(): number {
  return spawnSync("true").pid;
}

test("the set-up installs once, reports it in one line, and then needs neither npm nor a network", () => {
  using tree = checkout();
  const first = run(tree.setup);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stderr, INSTALLING);
  assert.equal(first.stderr.trimEnd().split("\n").length, 1);
  assert.equal(first.stdout, "");
  assert.ok(existsSync(join(tree.folder, "node_modules", ".bin", "node")));
  assert.ok(!existsSync(join(tree.folder, ".labelmill")), "the lock and its folder are removed");
  assert.deepEqual(run(tree.setup, { env: noNpm }), { status: 0, stdout: "", stderr: "" });
});

test("the set-up installs again when the lock file or the modules change", () => {
  using tree = checkout();
  run(tree.setup);
  tree.writeLock("second");
  assert.match(run(tree.setup).stderr, INSTALLING);
  assert.equal(run(tree.setup).stderr, "");
  writeFileSync(join(tree.folder, "node_modules", ".package-lock.json"), "{}");
  assert.match(run(tree.setup).stderr, INSTALLING);
});

test("a failed install shows the output of npm, and the next set-up installs again", () => {
  using tree = checkout();
  rmSync(join(tree.folder, "package-lock.json"));
  const failed = run(tree.setup, { env: { npm_config_loglevel: "silent" } });
  assert.equal(failed.status, 1);
  assert.match(failed.stderr, /npm error/);
  assert.match(failed.stderr, /`npm ci` failed \(exit code 1\)/);
  assert.ok(!existsSync(join(tree.folder, ".labelmill")));
  tree.writeLock("fixed");
  assert.equal(run(tree.setup).status, 0);
});

test("one of several concurrent set-ups installs, and the others wait for it", async () => {
  using tree = checkout();
  tree.hold(endedPid());
  const children = [1, 2, 3].map(() => spawn(process.execPath, [tree.setup], { stdio: ["ignore", "ignore", "pipe"] }));
  const said = await Promise.all(children.map((child) => Promise.all([text(child.stderr), once(child, "close")])));
  assert.deepEqual(
    said.map(([, [status]]) => status),
    [0, 0, 0],
    JSON.stringify(said),
  );
  assert.equal(said.filter(([stderr]) => INSTALLING.test(stderr)).length, 1, JSON.stringify(said));
  assert.ok(!existsSync(join(tree.folder, ".labelmill")));
});

test("a set-up waits for another set-up, and takes over a lock that is released", async () => {
  using tree = checkout();
  tree.hold(process.pid);
  const child = spawn(process.execPath, [tree.setup], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said += chunk;
    if (said.includes("waiting for another set-up")) rmSync(tree.lock, { force: true });
  });
  assert.deepEqual(await once(child, "close"), [0, null]);
  assert.match(said, new RegExp(`^labelmill: waiting for another set-up \\(process ${process.pid}\\) …\n.*installing`));
  assert.ok(!existsSync(join(tree.folder, ".labelmill")));
});

test("the lock of a zombie process is taken over", {
  skip: process.platform !== "linux" && "needs /proc",
}, async () => {
  using tree = checkout();
  // The shell prints the id of its child, then becomes a program that never waits for it. The child stays a zombie.
  const parent = spawn("sh", ["-c", "true & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
  const [chunk] = (await once(parent.stdout, "data")) as [Buffer];
  tree.hold(Number(chunk.toString()));
  const { status, stderr } = run(tree.setup);
  parent.kill("SIGKILL");
  assert.equal(status, 0);
  assert.match(stderr, INSTALLING);
});

test("a signal ends the set-up and npm, and the next set-up succeeds", async () => {
  using tree = checkout();
  // This npm sends SIGTERM to its set-up, and never ends by itself.
  const endless = join(tree.folder, "npm-cli.js");
  writeFileSync(endless, "setInterval(() => {}, 1000); process.kill(process.ppid, 'SIGTERM');");
  const child = spawn(process.execPath, [tree.setup], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, npm_execpath: endless },
  });
  const [said, ended] = await Promise.all([text(child.stderr), once(child, "close")]);
  assert.deepEqual(ended, [1, null]);
  assert.match(said, /`npm ci` failed \(SIGTERM\)/);
  assert.equal(run(tree.setup).status, 0);
});

test("the set-up leaves standard input to the command that follows", () => {
  using tree = checkout();
  const command = `"${process.execPath}" scripts/setup.mjs && exec cat`;
  const { stdout } = spawnSync("sh", ["-c", command], { cwd: tree.folder, encoding: "utf8", input: "one\ntwo\n" });
  assert.equal(stdout, "one\ntwo\n");
});

test("an old Node is enough with the pinned one, and gets a one-line error without it", () => {
  using pinned = checkout();
  assert.equal(run(pinned.setup, { node: fakeNode("20.20.0") }).status, 0);
  using alone = checkout({ pinned: null });
  const refused = run(alone.setup, { node: fakeNode("22.9.0") });
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /\nlabelmill: labelmill needs Node 24 and this is 22\.9\.0\..*install Node 24 or newer/);
  assert.equal(run(alone.setup, { env: noNpm }).status, 0, "a newer Node accepts the same modules");
});

test("a pinned Node that does not run, or is too old, is refused", () => {
  using old = checkout({ pinned: "v22.1.0" });
  assert.match(run(old.setup).stderr, /does not run here as version 24 \(v22\.1\.0\)/);
  using broken = checkout();
  writeFileSync(join(broken.folder, "own", "node.sh"), "#!/nowhere/loader\n");
  assert.match(run(broken.setup).stderr, /does not run here as version 24 \(spawnSync .* ENOENT\)/);
});

test("a Node that is too old for the set-up gets a one-line error before any change", () => {
  using tree = checkout();
  for (const version of ["12.22.0", "20.19.9"]) {
    const refused = run(tree.setup, { node: fakeNode(version) });
    assert.equal(refused.status, 1);
    assert.equal(
      refused.stderr,
      `labelmill: labelmill needs Node 20.20 or newer to set itself up, and this is ${version}.\n`,
    );
  }
  assert.ok(!existsSync(join(tree.folder, "node_modules")));
});
