import assert from "node:assert/strict";
import { once } from "node:events";
import { hostname } from "node:os";
import { after, describe, test } from "node:test";
import { LOCK_TIMES } from "../../../src/storage/lease/held-lock.ts";
import type { OutputLock } from "../../../src/storage/lease/lock.ts";
import type { Holder } from "../../../src/storage/lease/lock-holder.ts";
import { lockS3Output } from "../../../src/storage/lease/s3-lock.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { deadHolder } from "../../helpers/lock-files.ts";
import { FaultProxy } from "../../helpers/servers/fault-proxy.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { bytes, isError, text } from "../../helpers/store-conformance.ts";

const server = await startTestS3();
const s3 = new S3(server.settings);
after(async () => {
  s3.close();
  await server[Symbol.asyncDispose]();
});

const skip = !server.conditionalWrites && server.name;
const FAST = { ...LOCK_TIMES, renewMs: 20 };

async function makePlace() {
  const bucket = await server.makeBucket();
  return { uri: `s3://${bucket}/out/`, at: { bucket, key: "out/_lock" } };
}

function encoded(holder: Holder): Uint8Array {
  return bytes(`${JSON.stringify(holder)}\n`);
}

/** Resolves when the object has changed `times` times. */
async function renewals(at: { bucket: string; key: string }, times: number): Promise<string[]> {
  const seen = [(await s3.head(at)).etag];
  while (seen.length <= times) {
    const { etag } = await s3.head(at);
    if (etag !== seen.at(-1)) seen.push(etag);
  }
  return seen;
}

describe(`the lock of an output on S3 (${server.name})`, () => {
  test("refuses a second command, names the holder, and is free once released", async () => {
    const { uri, at } = await makePlace();
    const lock = await lockS3Output(s3, uri);
    const taken = isError(
      "OUTPUT_LOCKED",
      new RegExp(`^${uri} is in use by process ${process.pid} on ${hostname()}, since `),
    );
    await assert.rejects(lockS3Output(s3, uri), taken);
    assert.equal(JSON.parse(text(await s3.get(at))).pid, process.pid);
    await lock.release();
    await lock.release();
    await assert.rejects(s3.head(at), isError("STORE_NOT_FOUND"));
    await using again = await lockS3Output(s3, uri.slice(0, -1));
    assert.equal(again.lost.aborted, false);
  });

  test("of ten concurrent commands exactly one gets it, also after a dead holder", { skip }, async () => {
    for (const dead of [undefined, deadHolder()]) {
      const { uri, at } = await makePlace();
      if (dead) await s3.put(at, encoded(dead));
      const all = await Promise.allSettled(Array.from({ length: 10 }, () => lockS3Output(s3, uri)));
      const won = all.filter((each): each is PromiseFulfilledResult<OutputLock> => each.status === "fulfilled");
      assert.equal(won.length, 1);
      for (const each of all) if (each.status === "rejected") isError("OUTPUT_LOCKED")(each.reason);
      await won[0]!.value.release();
    }
  });

  test("of a killed command of this machine is free at once, also if another process has its id now", async () => {
    for (const dead of [deadHolder(), deadHolder({ pid: process.pid, started: "1" })]) {
      const { uri, at } = await makePlace();
      await s3.put(at, encoded(dead));
      await using lock = await lockS3Output(s3, uri);
      assert.equal(lock.lost.aborted, false);
    }
  });

  test("of another machine is free when its last renewal is old by the server's clock, not before", async () => {
    const { uri, at } = await makePlace();
    const other = deadHolder({ host: "elsewhere", machine: "another boot" });
    await s3.put(at, encoded(other));
    await assert.rejects(lockS3Output(s3, uri), isError("OUTPUT_LOCKED", /process \d+ on elsewhere/));
    // Every age exceeds this limit.
    await using lock = await lockS3Output(s3, uri, { ...LOCK_TIMES, staleMs: -1 });
    assert.equal(lock.lost.aborted, false);
    assert.notEqual(JSON.parse(text(await s3.get(at))).token, other.token);
  });

  test("each renewal writes another object, so that a command that read an older one cannot take it", {
    skip,
  }, async () => {
    const { uri, at } = await makePlace();
    await using lock = await lockS3Output(s3, uri, FAST);
    const [first, ...later] = await renewals(at, 3);
    assert.equal(new Set([first, ...later]).size, 4);
    assert.equal(await s3.replaceIf(at, first!, encoded(deadHolder())), null);
    assert.equal(lock.lost.aborted, false);
  });

  test("is lost when another command took it, and release does not remove that lock", async () => {
    const { uri, at } = await makePlace();
    const lock = await lockS3Output(s3, uri, FAST);
    const other = deadHolder();
    const lost = once(lock.lost, "abort");
    // A running renewal may not have read it yet. On a server that ignores conditions it overwrites it.
    do await s3.put(at, encoded(other));
    while (JSON.parse(text(await s3.get(at))).token !== other.token);
    await lost;
    assert.match(lock.lost.reason.message, /s3:.*out\/_lock is lost: another command took it/);
    await lock.release();
    assert.equal(JSON.parse(text(await s3.get(at))).token, other.token);
  });

  test("is lost when it was removed, or not renewed for so long that another command may take it", async () => {
    const { uri, at } = await makePlace();
    const removed = await lockS3Output(s3, uri, FAST);
    const lost = once(removed.lost, "abort");
    do await s3.delete(at);
    while (!removed.lost.aborted);
    await lost;
    await removed.release();

    await using proxy = await FaultProxy.start(server.endpoint);
    const far = new S3({ ...server.settings, endpoint: proxy.endpoint }, { tries: 1 });
    const cutOff = await lockS3Output(far, `${uri}second/`, { renewMs: 20, staleMs: 200 });
    proxy.failRandomly(["forbidden"], 1, 0);
    if (!cutOff.lost.aborted) await once(cutOff.lost, "abort");
    assert.match(cutOff.lost.reason.message, /could not be renewed/);
    proxy.clear();
    await cutOff.release();
    far.close();
  });

  test("survives an outage of its server, in which no command can take it, and is lost if another command has it afterwards", async () => {
    const { uri, at } = await makePlace();
    await using proxy = await FaultProxy.start(server.endpoint);
    const far = new S3({ ...server.settings, endpoint: proxy.endpoint }, { tries: 1 });
    const lock = await lockS3Output(far, uri, { renewMs: 20, staleMs: 200 });
    const { promise: many, resolve } = Promise.withResolvers<void>();
    proxy.onFault = () => proxy.count() >= 30 && resolve();
    proxy.failRandomly(["error"], 1, 0);
    await many;
    assert.equal(lock.lost.aborted, false);
    await s3.put(at, encoded(deadHolder()));
    proxy.clear();
    if (!lock.lost.aborted) await once(lock.lost, "abort");
    assert.match(lock.lost.reason.message, /another command took it/);
    await lock.release();
    far.close();
  });

  test("is taken and renewed if the server writes and then answers with an error", { skip }, async () => {
    const { uri, at } = await makePlace();
    await using proxy = await FaultProxy.start(server.endpoint);
    const far = new S3({ ...server.settings, endpoint: proxy.endpoint }, { delayMs: 1 });
    proxy.failRandomly(["lie", "lost"], 0.3, 3);
    const lock = await lockS3Output(far, uri, FAST);
    await renewals(at, 3);
    assert.equal(lock.lost.aborted, false);
    proxy.clear();
    await lock.release();
    await assert.rejects(s3.head(at), isError("STORE_NOT_FOUND"));
    far.close();
  });

  test("is not taken, and nothing is overwritten, if _lock is another object", async () => {
    for (const content of ["notes of mine", "{}", "x".repeat(10_000)]) {
      const { uri, at } = await makePlace();
      await s3.put(at, bytes(content));
      await assert.rejects(lockS3Output(s3, uri), isError("OUTPUT_FOREIGN", /out\/_lock is not a lock/));
      assert.equal(text(await s3.get(at)), content);
    }
  });
});
