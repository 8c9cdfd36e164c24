import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, describe, test } from "node:test";
import type { LabelmillError } from "../../../src/errors.ts";
import { openToRead } from "../../../src/storage/open.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import type { S3Limits } from "../../../src/storage/s3/tries.ts";
import { type Fault, FaultProxy } from "../../helpers/servers/fault-proxy.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { bytes, isError, keys, text } from "../../helpers/store-conformance.ts";

const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

/** A store behind a proxy. It retries without waiting. `silentMs` is for the tests without an answer. */
async function makePlace(limits: Partial<S3Limits> = {}) {
  const proxy = await FaultProxy.start(server.endpoint);
  const settings = { ...server.settings, endpoint: proxy.endpoint };
  const s3 = new S3(settings, { delayMs: 10, maxDelayMs: 50, ...limits });
  const bucket = await server.makeBucket();
  const store = await S3Store.open(s3, `s3://${bucket}/out/`);
  return {
    proxy,
    s3,
    bucket,
    store,
    async [Symbol.asyncDispose]() {
      s3.close();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

async function joined(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(pieces));
}

test("a store that is opened for reading sends no request at first, and then only reads", async () => {
  await using place = await makePlace();
  const { store, proxy, s3 } = place;
  await store.put("a", bytes("x"));
  const before = proxy.requests.length;
  const reader = await openToRead(store.uri, s3);
  assert.equal(proxy.requests.length, before);
  assert.equal(text(await reader.get("a")), "x");
  assert.equal((await joined(reader.stream("a"))).toString(), "x");
  assert.deepEqual(
    (await Array.fromAsync(reader.list(""))).map(({ key }) => key),
    ["a"],
  );
  const methods = proxy.requests.slice(before).map((request) => request.split(" ")[0]);
  assert.deepEqual(new Set(methods), new Set(["GET"]));
});

test("the probes of a bucket have separate keys: one must not remove the object of another", async () => {
  await using place = await makePlace();
  const { store, proxy } = place;
  const etag = await store.replaceIf("a", null, bytes("1"));
  assert.ok(await store.replaceIf("a", etag, bytes("2")));
  const written = proxy.requests.flatMap((request) => /^PUT .*(\.probe\.[0-9a-f]+)/.exec(request)?.[1] ?? []);
  assert.equal(written.length, server.conditionalWrites ? 4 : 2, written.join(" "));
  assert.equal(new Set(written).size, server.conditionalWrites ? 2 : 1, written.join(" "));
});

const ONCE: readonly Fault[] = ["error", "slow-down", "reset", "stall", "cut", "lost", "lie"];

describe(`a failing S3 server (${server.name})`, () => {
  for (const fault of ONCE) {
    const limits = fault === "stall" ? { silentMs: 1_000 } : {};
    test(`${fault}, once an operation: the operations succeed`, async () => {
      await using place = await makePlace(limits);
      const { store, proxy, s3, bucket } = place;
      const body = randomBytes(100_000);
      proxy.next(fault, 1, { method: "PUT" });
      await store.put("put", body);
      proxy.next(fault, 1, { method: "GET", path: /put/ });
      assert.ok(body.equals(await store.get("put")));
      proxy.next(fault, 1, { method: "GET", path: /put/ });
      assert.ok(body.equals(await joined(store.stream("put"))));
      proxy.next(fault, 1, { method: "GET", path: /list-type/ });
      assert.deepEqual(await keys(store), ["put"]);
      proxy.next(fault, 1, { method: "HEAD" });
      assert.equal((await s3.head({ bucket, key: "out/put" })).size, body.length);
      proxy.next(fault, 1, { method: "DELETE" });
      await s3.delete({ bucket, key: "out/put" });
      assert.deepEqual(await keys(store), []);
      assert.equal(proxy.count(fault), 6);
    });

    test(`${fault}, once a request of an upload in pieces: the upload succeeds`, async () => {
      await using place = await makePlace(limits);
      const { store, proxy } = place;
      const body = randomBytes(20_000_000);
      async function* pieces() {
        for (let at = 0; at < body.length; at += 1_500_000) yield body.subarray(at, at + 1_500_000);
      }
      proxy.next(fault, 1, { method: "POST", path: /uploads/ });
      proxy.next(fault, 1, { method: "PUT", path: /partNumber=2/ });
      proxy.next(fault, 1, { method: "POST", path: /uploadId=/ });
      await store.put("big", pieces());
      assert.equal(proxy.count(fault), 3);
      assert.ok(body.equals(await store.get("big")));
    });

    const skip = !server.conditionalWrites && server.name;
    test(`${fault}, once a putIfAbsent: the bytes are stored once, whatever it returns`, { skip }, async () => {
      await using place = await makePlace(limits);
      const { store, proxy } = place;
      proxy.next(fault, 1, { method: "PUT" });
      const first = await store.putIfAbsent("part", bytes("first"));
      // The server wrote before it failed: the second try finds these bytes and cannot know that they are its own.
      assert.equal(first, !["lie", "lost", "cut"].includes(fault));
      assert.equal(await store.putIfAbsent("part", bytes("second")), false);
      assert.equal(text(await store.get("part")), "first");
      assert.equal(proxy.count(fault), 1);
    });

    test(`${fault}, once a replaceIf: it reports whether its bytes are stored`, { skip }, async () => {
      await using place = await makePlace(limits);
      const { store, proxy } = place;
      const made = await store.replaceIf("key", null, bytes("first"));
      proxy.next(fault, 1, { method: "PUT", path: /key/ });
      const replaced = await store.replaceIf("key", made, bytes("second"));
      assert.equal(replaced, (await store.head("key"))!.etag);
      assert.equal(text(await store.get("key")), "second");
      // Between the two tries another process writes: the first try was not applied, or its bytes are replaced.
      proxy.next(fault, 1, { method: "PUT", path: /key/ });
      const [ours, theirs] = await Promise.all([
        store.replaceIf("key", replaced, bytes("ours")),
        store.replaceIf("key", replaced, bytes("theirs")),
      ]);
      const stored = await store.getWithEtag("key");
      assert.equal(ours === null, theirs !== null, "exactly one succeeds");
      assert.equal(text(stored!.bytes), ours === null ? "theirs" : "ours");
      assert.equal(proxy.count(fault), 2);
    });

    test(`${fault}, without an end: one line, and a retryable error`, async () => {
      await using place = await makePlace({ ...limits, tries: 3 });
      const { store, proxy, bucket } = place;
      const host = new URL(proxy.endpoint).host;
      await store.put("key", new Uint8Array(1));
      proxy.failRandomly([fault], 1, 0);
      const failed = (doing: string) => (error: unknown) => {
        isError(
          "STORE_FAILED",
          new RegExp(`^could not (${doing}) s3://${bucket}/out/.* \\(S3 at ${host}\\): .*later`),
        )(error);
        assert.equal((error as LabelmillError).retryable, true);
        assert.doesNotMatch((error as Error).message, /\n/);
        return true;
      };
      await assert.rejects(store.put("key", new Uint8Array(1000)), failed("write"));
      // A refusal with an incomplete reason is a refusal too.
      if (fault !== "cut") {
        // On a server without conditions, the store checks first.
        await assert.rejects(store.putIfAbsent("part", new Uint8Array(1000)), failed("write|read"));
      }
      await assert.rejects(keys(store), failed("list"));
      await assert.rejects(store.get("key"), failed("read"));
    });
  }

  test("a stream continues where it was cut, and requests only the missing bytes", async () => {
    await using place = await makePlace();
    const { store, proxy, s3, bucket } = place;
    const body = randomBytes(3_000_000);
    await store.put("key", body);
    proxy.next("cut", 3, { method: "GET" });
    assert.ok(body.equals(await joined(s3.stream({ bucket, key: "out/key" }))));
    assert.equal(proxy.count("cut"), 3);
    const asked = proxy.requests.filter((each) => each.startsWith("GET")).map((each) => each.split("bytes=")[1]);
    // Each cut leaves half of the requested bytes.
    assert.deepEqual(asked, [undefined, "1500000-", "2250000-", "2625000-"]);
  });

  test("an object that is replaced while a stream is cut is INPUT_CHANGED; a get reads the new object", async () => {
    await using place = await makePlace();
    const { store, proxy, s3, bucket } = place;
    const at = { bucket, key: "out/key" };
    await store.put("key", randomBytes(300_000));
    proxy.next("cut", 1, { method: "GET" });
    const stream = s3.stream(at);
    const first = await stream.next();
    assert.ok(!first.done && first.value.length > 0);
    await store.put("key", bytes("new"));
    await assert.rejects(joined(stream), isError("INPUT_CHANGED", /out\/key was replaced/));
    const { etag } = await s3.head(at);
    assert.equal(text(await joined(s3.stream(at, { etag }))), "new");
    await assert.rejects(joined(s3.stream(at, { etag: "0".repeat(32) })), isError("INPUT_CHANGED"));
  });

  test("a body that a slow reader leaves unread is requested again", async () => {
    await using place = await makePlace({ silentMs: 1_000 });
    const { store, proxy } = place;
    const body = randomBytes(20_000_000);
    await store.put(
      "key",
      (async function* () {
        yield body;
      })(),
    );
    const stream = store.stream("key");
    const pieces = [(await stream[Symbol.asyncIterator]().next()).value as Buffer];
    const before = proxy.requests.length;
    // Until the connection is closed: it is silent while the test does not read.
    const { promise: broken, resolve } = Promise.withResolvers<void>();
    proxy.onBroken = resolve;
    await broken;
    for await (const piece of stream) pieces.push(piece as Buffer);
    assert.ok(body.equals(Buffer.concat(pieces)));
    assert.equal(proxy.requests.length, before + 1);
  });

  test("stops at once when its signal aborts, between tries and within one", async () => {
    await using place = await makePlace();
    const { store, proxy, s3, bucket } = place;
    await store.put("key", new Uint8Array(1000));
    for (const fault of ["stall", "error"] as const) {
      proxy.failRandomly([fault], 1, 0);
      const stop = new AbortController();
      const before = proxy.count(fault);
      proxy.onFault = () => proxy.count(fault) > before && stop.abort();
      await assert.rejects(s3.get({ bucket, key: "out/key" }, { signal: stop.signal }), isError("ABORTED"));
      assert.ok(proxy.count(fault) <= before + 2);
    }
  });

  test("with random faults, a hundred objects are stored whole and once", async () => {
    // Enough tries that no operation fails by chance.
    await using place = await makePlace({ tries: 20 });
    const { store, proxy } = place;
    proxy.failRandomly(["error", "slow-down", "reset", "cut", "lie", "lost"], 0.3, 7);
    const all = Array.from({ length: 100 }, (_, i) => `part-${String(i).padStart(3, "0")}`);
    await Promise.all(all.map((key) => store.putIfAbsent(key, bytes(key.repeat(1000)))));
    const read = await Promise.all(all.map(async (key) => text(await store.get(key))));
    assert.deepEqual(
      read,
      all.map((key) => key.repeat(1000)),
    );
    assert.deepEqual(await keys(store), all);
    assert.ok(proxy.count() > 20, `${proxy.count()} faults`);
  });
});
