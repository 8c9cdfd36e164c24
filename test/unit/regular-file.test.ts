import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { IrregularFile, openOwnSync, openReal, openRegular, readRegularText } from "../../src/regular-file.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "labelmill-regular-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

function mkfifo(path: string): string {
  assert.equal(spawnSync("mkfifo", [path]).status, 0);
  return path;
}

const irregular = (kind: string) => (error: unknown) => error instanceof IrregularFile && error.kind === kind;

test("a regular file is opened, also through a link, and a missing one is ENOENT", async (t) => {
  const dir = await folder(t);
  const file = join(dir, "file");
  await writeFile(file, "text");
  await symlink("file", join(dir, "link"));
  assert.equal(await readRegularText(file), "text");
  assert.equal(await readRegularText(join(dir, "link")), "text");
  await assert.rejects(openReal(join(dir, "link")), irregular("a link"));
  await assert.rejects(openRegular(join(dir, "none")), { code: "ENOENT" });
});

test("folders, FIFOs, sockets and devices are refused without blocking, also through links", async (t) => {
  const dir = await folder(t);
  const special = "a pipe, socket or device";
  await mkdir(join(dir, "folder"));
  const server = createServer().listen(join(dir, "socket"));
  await once(server, "listening");
  t.after(() => server.close());
  const cases: [path: string, kind: string][] = [
    [join(dir, "folder"), "a folder"],
    [mkfifo(join(dir, "fifo")), special],
    [join(dir, "socket"), special],
    ["/dev/zero", special],
  ];
  for (const [at, [path, kind]] of cases.entries()) {
    const link = join(dir, `link-${at}`);
    await symlink(path, link);
    // More opens than libuv's pool has threads, so that blocked ones would stop the test.
    for (let i = 0; i < 10; i++) {
      await assert.rejects(openReal(path), irregular(kind));
      await assert.rejects(openRegular(link), irregular(kind));
    }
    assert.throws(() => openOwnSync(path), irregular(kind));
    assert.throws(() => openOwnSync(link), irregular("a link"));
  }
});

/** Alternates a FIFO and a file at one path until `stop` is set. */
const SWAPPER = `
const { linkSync, renameSync } = require("node:fs");
const { workerData: { path, fifo, file, stop } } = require("node:worker_threads");
const stopped = new Int32Array(stop);
for (let i = 0; Atomics.load(stopped, 0) === 0; i++) {
  linkSync(i % 2 ? file : fifo, path + ".aside");
  renameSync(path + ".aside", path);
}
`;

test("a FIFO that replaces the file between the check and the open does not block", async (t) => {
  const dir = await folder(t);
  const path = join(dir, "path");
  const [fifo, file] = [mkfifo(join(dir, "fifo")), join(dir, "file")];
  await writeFile(file, "text");
  await writeFile(path, "text");
  const stop = new SharedArrayBuffer(4);
  const swapper = new Worker(SWAPPER, { eval: true, workerData: { path, fifo, file, stop } });
  const exited = once(swapper, "exit");
  const seen = { opened: 0, refused: 0 };
  try {
    while (seen.opened < 100 || seen.refused < 100) {
      try {
        assert.equal(await readRegularText(path), "text");
        seen.opened += 1;
      } catch (error) {
        assert.ok(error instanceof IrregularFile, String(error));
        seen.refused += 1;
      }
    }
  } finally {
    Atomics.store(new Int32Array(stop), 0, 1);
    await exited;
  }
});
