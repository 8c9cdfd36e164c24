import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { FsStore } from "../../../src/storage/fs/store.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { openStore } from "../../../src/storage/open.ts";
import type { WriteOrder } from "../../helpers/processes/store-writer.ts";
import { bytes, isError, keys, storeConformance, text } from "../../helpers/store-conformance.ts";

storeConformance("memory", async () => {
  const name = randomUUID();
  return { store: new MemoryStore(name), second: new MemoryStore(name), remove: async () => {} };
});

storeConformance("fs", async () => {
  const folder = await temporary();
  return {
    store: await FsStore.open(folder),
    second: await FsStore.open(folder),
    remove: () => rm(folder, { recursive: true }),
  };
});

/** Whether a process on this machine has ended is known from /proc. */
const onLinux = process.platform !== "linux" && "needs /proc";

describe("fs: tests beyond the conformance suite", () => {
  test("of ten concurrent processes exactly one succeeds, and its bytes are kept", async () => {
    await using place = await makePlace();
    const writers = await Promise.all(Array.from({ length: 10 }, startWriter));
    try {
      for (let round = 0; round < 10; round += 1) {
        const key = `part-${round}`;
        const won = await Promise.all(
          writers.map((writer, fill) => ask(writer, { do: "putIfAbsent", ...place, key, fill, size: 100_000 })),
        );
        assert.equal(won.filter((answer) => answer === true).length, 1, JSON.stringify(won));
        const got = await readFile(join(place.folder, key));
        assert.ok(got.equals(new Uint8Array(100_000).fill(won.indexOf(true))));
      }
    } finally {
      for (const writer of writers) writer.disconnect();
    }
    assert.equal((await readdir(place.folder)).length, 10, "no asides stay");
  });

  test("of the increments of four concurrent processes with replaceIf none is lost", async () => {
    await using place = await makePlace();
    const writers = await Promise.all(Array.from({ length: 4 }, startWriter));
    try {
      await Promise.all(writers.map((writer) => ask(writer, { do: "increase", ...place, key: "counter", times: 25 })));
      assert.equal(await readFile(join(place.folder, "counter"), "utf8"), "100");
    } finally {
      for (const writer of writers) writer.disconnect();
    }
    assert.deepEqual(await readdir(place.folder), ["counter"], "no locks stay");
  });

  test("the lock of a process that was killed does not block replaceIf", { skip: onLinux }, async () => {
    await using place = await makePlace();
    const writer = await startWriter();
    const ended = once(writer, "exit");
    assert.equal(await ask(writer, { do: "lock", ...place, key: "key" }), "locked");
    const store = await FsStore.open(place.folder);
    const waiting = store.replaceIf("key", null, bytes("mine"));
    assert.deepEqual(await keys(store), [], "a lock is no object");
    writer.kill("SIGKILL");
    await ended;
    assert.equal(await waiting, (await store.head("key"))!.etag);
    assert.deepEqual(await readdir(place.folder), ["key"]);
  });

  test("the lock of a process on another machine is taken 60 s after it was written", { skip: onLinux }, async () => {
    await using place = await makePlace();
    const store = await FsStore.open(place.folder);
    const writer = await startWriter();
    const ended = once(writer, "exit");
    assert.equal(await ask(writer, { do: "lock", ...place, key: "key" }), "locked");
    const [lock] = (await readdir(place.folder)).filter((name) => name.endsWith(".claim"));
    const path = join(place.folder, lock!);
    await writeFile(path, (await readFile(path, "utf8")).replace(/"machine":"[^"]*"/, '"machine":"another boot"'));
    writer.kill("SIGKILL");
    await ended;
    const old = Date.now() / 1000 - 61;
    await utimes(path, old, old);
    assert.notEqual(await store.replaceIf("key", null, bytes("mine")), null);
    assert.deepEqual(await readdir(place.folder), ["key"]);
  });

  test("a writer that is killed while writing leaves nothing at the key; its leftover is removed after an hour", async () => {
    await using place = await makePlace();
    for (const key of ["part", "below/part"]) {
      const writer = await startWriter();
      const ended = once(writer, "exit");
      assert.equal(await ask(writer, { do: "hang", ...place, key, size: 500_000 }), "writing");
      writer.kill("SIGKILL");
      await ended;
    }
    const store = await FsStore.open(place.folder);
    assert.deepEqual(await keys(store), []);
    await assert.rejects(store.get("part"), isError("STORE_NOT_FOUND"));

    const asides = (await readdir(place.folder, { recursive: true })).filter((name) => name.endsWith(".aside"));
    assert.equal(asides.length, 2, "the kill came in the middle of a write");
    const almost = Date.now() / 1000 - 3_500;
    for (const aside of asides) await utimes(join(place.folder, aside), almost, almost);
    await (await FsStore.open(place.folder)).put("below/young", bytes("x"));
    for (const aside of asides) await stat(join(place.folder, aside));
    const old = almost - 200;
    for (const aside of asides) await utimes(join(place.folder, aside), old, old);
    await (await FsStore.open(place.folder)).put("below/old", bytes("x"));
    assert.deepEqual((await readdir(place.folder, { recursive: true })).sort(), ["below", "below/old", "below/young"]);
  });

  test("a full disk is reported and leaves nothing behind", async (t) => {
    await using place = await makePlace();
    if (!mount(["-t", "tmpfs", "-o", "size=1m", "tmpfs", place.folder])) return t.skip("needs the right to mount");
    try {
      const store = await FsStore.open(place.folder);
      await store.put("small", bytes("small"));
      const full = isError("STORE_FAILED", new RegExp(`${place.folder}.*ENOSPC.*free space`));
      await assert.rejects(store.put("small", new Uint8Array(2_000_000)), full);
      await assert.rejects(store.putIfAbsent("part", new Uint8Array(2_000_000)), full);
      await assert.rejects(store.put("stream", inPieces(40, 50_000)), (error) => {
        assert.equal((error as { retryable: boolean }).retryable, true);
        return full(error);
      });
      assert.deepEqual(await readdir(place.folder), ["small"]);
      assert.equal(text(await store.get("small")), "small");
      assert.equal(await store.putIfAbsent("part", new Uint8Array(500_000)), true, "and there is room again");
    } finally {
      execFileSync("umount", [place.folder]);
    }
  });

  test("a read-only place can be read; the error of a write says how to fix it and is not retryable", async (t) => {
    await using place = await makePlace();
    await writeFile(join(place.folder, "key"), "here");
    if (!mount(["--bind", place.folder, place.folder])) return t.skip("needs the right to mount");
    try {
      if (!mount(["-o", "remount,ro,bind", place.folder])) return t.skip("needs the right to mount");
      const store = await FsStore.open(place.folder);
      assert.equal(text(await store.get("key")), "here");
      assert.equal(store.conditionalWrites, true);
      await assert.rejects(store.put("key", bytes("x")), (error) => {
        assert.equal((error as { retryable: boolean }).retryable, false);
        return isError("STORE_FAILED", /key: EROFS.*mount it writable/)(error);
      });
    } finally {
      execFileSync("umount", [place.folder]);
    }
  });

  test("links are neither followed nor listed, for reading and for writing", async () => {
    await using place = await makePlace();
    await using outside = await makePlace();
    await writeFile(join(outside.folder, "secret"), "secret");
    await symlink(join(outside.folder, "secret"), join(place.folder, "file"));
    await symlink(outside.folder, join(place.folder, "folder"));
    await symlink(join(place.folder, "nowhere"), join(place.folder, "dangling"));
    const store = await FsStore.open(place.folder);
    const refused = isError("NOT_GRANTED", /folders without links/);
    for (const key of ["file", "folder/secret", "folder", "dangling"])
      await assert.rejects(store.get(key), refused, key);
    await assert.rejects(store.stream("folder/secret")[Symbol.asyncIterator]().next(), refused);
    await assert.rejects(store.put("folder/new", bytes("x")), refused);
    await assert.rejects(store.put("folder/below/new", bytes("x")), refused);
    for (const key of ["file", "folder/new", "folder", "dangling"])
      await assert.rejects(store.putIfAbsent(key, bytes("x")), refused, key);
    assert.deepEqual(await keys(store), []);

    await store.put("file", bytes("in the place of the link"));
    assert.equal(await readFile(join(outside.folder, "secret"), "utf8"), "secret");
    assert.deepEqual(await readdir(outside.folder), ["secret"]);
  });

  test("a FIFO, socket or folder is refused without waiting", async () => {
    await using place = await makePlace();
    execFileSync("mkfifo", [join(place.folder, "pipe")]);
    await mkdir(join(place.folder, "folder"));
    const store = await FsStore.open(place.folder);
    await assert.rejects(store.get("pipe"), isError("NOT_GRANTED"));
    await assert.rejects(store.putIfAbsent("pipe", bytes("x")), isError("NOT_GRANTED"));
    await assert.rejects(store.putIfAbsent("folder", bytes("x")), isError("NOT_GRANTED"));
    await assert.rejects(
      store.put("folder", bytes("x")),
      isError("STORE_FAILED", /EISDIR.*a folder is where a file is needed/),
    );
    await store.put("file", bytes("x"));
    await assert.rejects(store.put("file/below", bytes("x")), isError("STORE_FAILED", /ENOTDIR.*a file is where/));
    assert.deepEqual(await keys(store), ["file"]);
    assert.deepEqual((await readdir(place.folder)).sort(), ["file", "folder", "pipe"], "no asides stay");
  });

  test("files without a valid key, and aside files, are not listed", async () => {
    await using place = await makePlace();
    for (const name of [".part.0123456789abcdef.aside", "._lock.0123456789abcdef.claim", "back\\slash", "part"])
      await writeFile(join(place.folder, name), "x");
    await writeFile(Buffer.concat([Buffer.from(`${place.folder}/not-utf8-`), Buffer.of(0xff)]), "x");
    assert.deepEqual(await keys(await FsStore.open(place.folder)), ["part"]);
  });

  test("the folder is made, opened by its real path, and refused if it is a file", async () => {
    await using place = await makePlace();
    await mkdir(join(place.folder, "real"));
    await symlink(join(place.folder, "real"), join(place.folder, "link"));
    const store = await FsStore.open(join(place.folder, "link", "a", "b #?%"));
    assert.equal(store.uri, pathToFileURL(`${join(await realpath(place.folder), "real", "a", "b #?%")}/`).href);
    await store.put("key", bytes("x"));
    assert.equal(text(await (await openStore(store.uri)).get("key")), "x");
    await writeFile(join(place.folder, "file"), "x");
    await assert.rejects(
      FsStore.open(join(place.folder, "file")),
      isError("STORE_FAILED", /a file is where a folder is needed/),
    );
  });
});

describe("openStore", () => {
  test("memory: the same name is the same store", async () => {
    const name = randomUUID();
    const store = await openStore(`memory:${name}`);
    await store.put("key", bytes("x"));
    assert.equal(text(await (await openStore(store.uri)).get("key")), "x");
    assert.deepEqual(await keys(await openStore(`memory:${randomUUID()}`)), []);
  });

  test("any other URI is USAGE, with the known forms", async () => {
    const wrong = [
      "",
      "out",
      "/out",
      "file:out",
      "file:/out",
      "file://host/out",
      "file:///a%2Fb",
      "file:///a?b",
      "memory:",
    ];
    for (const uri of [...wrong, "memory:a/b", "memory:..//", "http://x", "file:///a%00b"])
      await assert.rejects(
        openStore(uri),
        isError("USAGE", /file:\/\/\/FOLDER, s3:\/\/BUCKET\/PREFIX\/, memory:NAME/),
        uri,
      );
    await assert.rejects(openStore("s3://bucket/x/"), isError("USAGE", /on S3, which is not: use file/));
    await assert.rejects(openStore("https://me:hidden@host/x"), (error: Error) => !error.message.includes("hidden"));
  });
});

async function temporary(): Promise<string> {
  return mkdtemp(join(tmpdir(), "labelmill-store-"));
}

async function makePlace(): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await temporary();
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

async function startWriter(): Promise<ChildProcess> {
  const writer = fork(new URL("../../helpers/processes/store-writer.ts", import.meta.url), {
    serialization: "advanced",
  });
  assert.equal(await answer(writer), "ready");
  return writer;
}

async function ask(writer: ChildProcess, order: WriteOrder): Promise<unknown> {
  const answered = answer(writer);
  writer.send(order);
  return answered;
}

function answer(writer: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error("the writer ended without an answer"));
    writer.once("exit", ended);
    writer.once("message", (message) => {
      writer.off("exit", ended);
      resolve(message);
    });
  });
}

function mount(args: string[]): boolean {
  try {
    execFileSync("mount", args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function* inPieces(count: number, size: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i += 1) yield new Uint8Array(size);
}
