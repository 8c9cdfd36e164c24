import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { LabelmillError } from "../../../src/errors.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";

const uriOf = (path: string) => pathToFileURL(path).href;

/** A granted folder `in` with `a.png`, and beside it `out` with `secret.png`, in a new temporary folder. */
async function setUp(t: TestContext): Promise<{ base: string; inside: string; outside: string; grants: FileGrants }> {
  const base = await realpath(await mkdtemp(join(tmpdir(), "labelmill-grants-")));
  t.after(() => rm(base, { recursive: true, force: true }));
  const [inside, outside] = [join(base, "in"), join(base, "out")];
  await mkdir(join(inside, "sub"), { recursive: true });
  await mkdir(outside);
  await writeFile(join(inside, "a.png"), "inside");
  await writeFile(join(outside, "secret.png"), "outside");
  return { base, inside, outside, grants: new FileGrants([inside]) };
}

async function rejects(promise: Promise<unknown>, code: string, message?: RegExp): Promise<LabelmillError> {
  const error = await promise.then(
    () => assert.fail(`expected ${code}, got no error`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof LabelmillError, String(error));
  assert.equal(error.code, code, error.message);
  if (message) assert.match(error.message, message);
  return error;
}

async function contents(grants: FileGrants, path: string): Promise<string> {
  await using handle = await grants.open(uriOf(path));
  return await handle.readFile("utf8");
}

test("a granted folder opens what is in it, a granted file itself and nothing beside it", async (t) => {
  const { inside, outside, grants } = await setUp(t);
  const odd = join(inside, "sub", "ä #?%2f .png");
  await writeFile(odd, "odd");
  assert.equal(await grants.resolve(uriOf(join(inside, "a.png"))), join(inside, "a.png"));
  assert.equal(await grants.resolve(uriOf(inside)), inside);
  assert.equal(await contents(grants, odd), "odd");
  const single = new FileGrants([join(inside, "a.png")]);
  assert.equal(await contents(single, join(inside, "a.png")), "inside");
  await rejects(single.open(uriOf(odd)), "NOT_GRANTED");
  await rejects(single.resolve(uriOf(inside)), "NOT_GRANTED");
  await rejects(new FileGrants([]).resolve(uriOf(inside)), "NOT_GRANTED");
  const all = new FileGrants(["/"]);
  assert.equal(await contents(all, join(outside, "secret.png")), "outside");
});

test("a folder whose name begins like a granted one is not granted", async (t) => {
  const { base, grants } = await setUp(t);
  await mkdir(join(base, "in2"));
  await writeFile(join(base, "in2", "a.png"), "x");
  await rejects(grants.open(uriOf(join(base, "in2", "a.png"))), "NOT_GRANTED");
});

test("`..`, plain or encoded, does not lead out", async (t) => {
  const { inside, grants } = await setUp(t);
  const base = `file://${inside}`;
  for (const way of [
    "/../out/secret.png",
    "/%2e%2e/out/secret.png",
    "/sub/.%2E/../../out/secret.png",
    "\\..\\out\\secret.png",
  ]) {
    await rejects(grants.open(base + way), "NOT_GRANTED", /LABELMILL_FILE_ROOTS/);
    await rejects(grants.resolveOutput(base + way), "NOT_GRANTED");
  }
  assert.equal(await grants.resolve(`${base}/sub/../a.png`), join(inside, "a.png"));
});

test("URLs without a plain local path are refused", async (t) => {
  const { inside, grants } = await setUp(t);
  const uris = [
    `file://host${inside}/a.png`,
    `file://${inside}%2fa.png`,
    `file://${inside}/a.png%00`,
    "file://127.0.0.1/etc",
  ];
  for (const uri of [...uris, `${inside}/a.png`, "http://h/a.png", "a.png", ""]) {
    await rejects(grants.open(uri), "URL_REFUSED");
    await rejects(grants.resolve(uri), "URL_REFUSED");
    await rejects(grants.resolveOutput(uri), "URL_REFUSED");
  }
});

test("a link is granted if its target is", async (t) => {
  const { base, inside, outside, grants } = await setUp(t);
  await symlink(join(outside, "secret.png"), join(inside, "link.png"));
  await symlink(outside, join(inside, "sub", "dir"));
  await symlink("a.png", join(inside, "good.png"));
  await symlink(inside, join(base, "way-in"));
  await symlink("loop", join(inside, "loop"));
  for (const path of ["link.png", "sub/dir/secret.png", "sub/dir/none/x", "loop", "loop/x"]) {
    await rejects(grants.open(uriOf(join(inside, path))), "NOT_GRANTED");
    await rejects(grants.resolveOutput(uriOf(join(inside, path))), "NOT_GRANTED");
  }
  assert.equal(await contents(grants, join(inside, "good.png")), "inside");
  assert.equal(await contents(grants, join(base, "way-in", "a.png")), "inside");
  assert.equal(await contents(new FileGrants([join(base, "way-in")]), join(inside, "a.png")), "inside");
  await rejects(grants.open(`file:///proc/self/root${outside}/secret.png`), "NOT_GRANTED");
  await rejects(grants.open("file:///proc/self/environ"), "NOT_GRANTED");
});

test("outside of the grants, existing and missing paths get the same error", async (t) => {
  const { inside, outside, grants } = await setUp(t);
  await symlink(join(outside, "none.png"), join(inside, "dangling.png"));
  await symlink(join(outside, "nodir"), join(inside, "dangling"));
  const messageOf = async (path: string) => {
    const error = await rejects(grants.open(uriOf(path)), "NOT_GRANTED");
    assert.equal(error.cause, undefined);
    return error.message.replaceAll(path, "PATH");
  };
  const answers = new Set<string>();
  for (const name of ["secret.png", "none.png", "none/x", "secret.png/x"])
    answers.add(await messageOf(join(outside, name)));
  for (const name of ["dangling.png", "dangling", "dangling/x.png"]) answers.add(await messageOf(join(inside, name)));
  assert.equal(answers.size, 1);
});

test("a missing file inside the grants is not found, with the reason", async (t) => {
  const { inside, grants } = await setUp(t);
  for (const name of ["none.png", "none/deep/x.png", "x".repeat(300), `${"d/".repeat(3000)}x`]) {
    await rejects(grants.open(uriOf(join(inside, name))), "IMAGE_NOT_FOUND", /ENOENT|ENAMETOOLONG/);
  }
  await rejects(grants.resolve(uriOf(join(inside, "a.png", "x"))), "IMAGE_NOT_FOUND", /ENOTDIR/);
});

test("an unreadable file is not found, with the reason", async (t) => {
  const { base, inside, grants } = await setUp(t);
  await mkdir(join(inside, "closed"));
  for (const path of ["a.png", "closed"]) await chmod(join(inside, path), 0);
  await chmod(base, 0o755);
  const root = process.getuid?.() === 0;
  if (root) process.seteuid?.(65534);
  try {
    await rejects(grants.open(uriOf(join(inside, "a.png"))), "IMAGE_NOT_FOUND", /EACCES/);
    await rejects(grants.open(uriOf(join(inside, "closed", "x.png"))), "IMAGE_NOT_FOUND", /EACCES/);
  } finally {
    if (root) process.seteuid?.(0);
    await chmod(join(inside, "closed"), 0o755);
  }
});

test("folders, FIFOs and devices are invalid, and none of them blocks", async (t) => {
  const { inside, grants } = await setUp(t);
  execFileSync("mkfifo", [join(inside, "fifo.png")]);
  await rejects(grants.open(uriOf(join(inside, "fifo.png"))), "IMAGE_INVALID");
  await rejects(grants.open(uriOf(join(inside, "sub"))), "IMAGE_INVALID");
  await rejects(grants.open("file:///dev/zero"), "NOT_GRANTED");
  const devices = new FileGrants(["/dev"]);
  for (const device of ["zero", "null", "tty"]) await rejects(devices.open(`file:///dev/${device}`), "IMAGE_INVALID");
});

test("a root replaced by a link grants nothing new", async (t) => {
  const { base, inside, outside, grants } = await setUp(t);
  assert.equal(await contents(grants, join(inside, "a.png")), "inside");
  await rename(inside, join(base, "moved"));
  await symlink(outside, inside);
  await rejects(grants.open(uriOf(join(inside, "secret.png"))), "NOT_GRANTED");
});

test("an output need not exist yet, nor its root", async (t) => {
  const { base, inside, outside, grants } = await setUp(t);
  const output = join(inside, "new", "deep");
  assert.equal(await grants.resolveOutput(uriOf(output)), output);
  assert.equal(await grants.resolveOutput(`${uriOf(inside)}/`), inside);
  await rejects(grants.resolveOutput(uriOf(join(outside, "new"))), "NOT_GRANTED");
  await symlink(base, join(base, "again"));
  const later = new FileGrants([join(base, "again", "later")]);
  assert.equal(await later.resolveOutput(uriOf(join(base, "later", "x"))), join(base, "later", "x"));
  await mkdir(join(base, "later"));
  assert.equal(await later.resolve(uriOf(join(base, "again", "later"))), join(base, "later"));
});

test("an empty root is refused, instead of granting the working directory", () => {
  for (const root of ["", "a\0b"]) {
    assert.throws(() => new FileGrants([root]), { code: "CONFIG_INVALID" });
  }
});

test("a folder replaced by a link between check and open never gives access to files outside", async (t) => {
  const { inside, outside, grants } = await setUp(t);
  await writeFile(join(outside, "x.png"), "outside");
  await writeFile(join(inside, "sub", "x.png"), "inside");
  const swapper = new Worker(
    `const { renameSync, symlinkSync, unlinkSync } = require("node:fs");
     const { parentPort, workerData: { sub, aside, outside } } = require("node:worker_threads");
     let on = true;
     parentPort.on("message", () => { on = false; });
     const turn = () => {
       for (let i = 0; i < 100; i++) {
         renameSync(sub, aside); symlinkSync(outside, sub);
         unlinkSync(sub); renameSync(aside, sub);
       }
       if (on) setImmediate(turn); else parentPort.close();
     };
     turn();`,
    { eval: true, workerData: { sub: join(inside, "sub"), aside: join(inside, "aside"), outside } },
  );
  const ended = new Promise((done) => swapper.once("exit", done));
  let opened = 0;
  try {
    for (let i = 0; i < 2000; i++) {
      const found = await contents(grants, join(inside, "sub", "x.png")).catch((error: unknown) => {
        assert.ok(error instanceof LabelmillError, String(error));
        assert.match(error.code, /^(NOT_GRANTED|IMAGE_NOT_FOUND|FETCH_UNAVAILABLE)$/);
      });
      if (found !== undefined) opened++;
      assert.notEqual(found, "outside");
    }
  } finally {
    swapper.postMessage("end");
    await ended;
  }
  assert.ok(opened > 0, "the file was never there when it was opened");
});
