import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, test } from "node:test";
import { LabelmillError } from "../../src/errors.ts";
import type { ObjectStore } from "../../src/storage/store.ts";

/** Two stores over one location, as two workers have it. `remove` deletes the location. */
export type StoresUnderTest = { store: ObjectStore; second: ObjectStore; remove(): Promise<void> };

const BIG_BYTES = 30_000_000;
const REPLACED_BYTES = 1_000_000;

/** What a server does not support. A string is the reason to skip the tests of it. */
export type ServerLimits = {
  /** The server overwrites despite `If-None-Match`. */
  ignoresConditions?: string | false;
  /** The server does not list in byte order. */
  ordersOtherwise?: string | false;
  /** The server does not accept 30 MB in one request. */
  limitsBody?: string | false;
  /** Valid keys that the server cannot store. */
  refusedKeys?: string[];
};

/** Tests that every store must pass. @param make returns stores over a new, empty location */
export function storeConformance(name: string, make: () => Promise<StoresUnderTest>, limits: ServerLimits = {}): void {
  const { ignoresConditions = false, ordersOtherwise = false, limitsBody = false, refusedKeys = [] } = limits;
  type Run = (store: ObjectStore, second: ObjectStore) => Promise<void>;
  /** Registers a test with its own empty location. */
  const check = (title: string, run: Run, skip: string | false = false) =>
    test(title, { skip }, async () => {
      const { store, second, remove } = await make();
      try {
        await run(store, second);
      } finally {
        await remove();
      }
    });

  describe(`${name}: an object store`, () => {
    check(
      "has a URI that ends in a slash, and reports whether it supports conditional writes",
      async (store, second) => {
        assert.match(store.uri, /^[a-z0-9]+:.*\/$/);
        assert.equal(store.uri, second.uri);
        assert.equal(store.conditionalWrites, !ignoresConditions);
      },
    );

    check("every reader gets what was written", async (store, second) => {
      const odd = Uint8Array.of(0, 255, 10, 13, 0xc3, 0x28);
      await store.put("odd", odd);
      await store.put("empty", new Uint8Array());
      await store.put("a/b/c.jsonl", bytes("deep"));
      assert.deepEqual(plain(await second.get("odd")), plain(odd));
      assert.equal((await second.get("empty")).length, 0);
      assert.equal(text(await second.get("a/b/c.jsonl")), "deep");
      assert.equal(text(await joined(second.stream("a/b/c.jsonl"))), "deep");
      assert.equal((await joined(second.stream("empty"))).length, 0);
    });

    check("put replaces an object, also by a shorter one", async (store) => {
      await store.put("key", bytes("something long"));
      await store.put("key", bytes("short"));
      assert.equal(text(await store.get("key")), "short");
    });

    check("removes only the given object, and accepts one that does not exist", async (store, second) => {
      await store.put("a/gone", bytes("x"));
      await store.put("a/stays", bytes("y"));
      await store.remove("a/gone");
      await store.remove("a/gone");
      await store.remove("nowhere/at/all");
      assert.deepEqual(await keys(second), ["a/stays"]);
      assert.equal(await second.putIfAbsent("a/gone", bytes("z")), true);
      await assert.rejects(store.remove("../out"), isError("NOT_GRANTED"));
    });

    check("accepts a body in pieces", async (store) => {
      await store.put("pieces", pieces("one ", "", "two ", "three"));
      assert.equal(text(await store.get("pieces")), "one two three");
      await store.put("none", pieces());
      assert.equal((await store.get("none")).length, 0);
    });

    check("keeps the old object and rethrows the error when a body fails", async (store) => {
      await store.put("key", bytes("old"));
      async function* broken() {
        yield bytes("new, but not all of i");
        throw new RangeError("the source broke");
      }
      await assert.rejects(store.put("key", broken()), new RangeError("the source broke"));
      await assert.rejects(store.put("other", broken()), RangeError);
      assert.equal(text(await store.get("key")), "old");
      assert.deepEqual(await keys(store), ["key"]);
    });

    check("later changes of the caller's bytes do not change the object", async (store) => {
      const mine = bytes("mine");
      await store.put("a", mine);
      await store.putIfAbsent("b", mine);
      mine.fill(0);
      (await store.get("a")).fill(0);
      for await (const piece of store.stream("b")) piece.fill(0);
      assert.equal(text(await store.get("a")), "mine");
      assert.equal(text(await store.get("b")), "mine");
    });

    check("putIfAbsent never replaces an object, not even an empty one", async (store, second) => {
      assert.equal(await store.putIfAbsent("key", bytes("first")), true);
      assert.equal(await second.putIfAbsent("key", bytes("second")), false);
      assert.equal(await store.putIfAbsent("key", bytes("first")), false);
      assert.equal(text(await second.get("key")), "first");
      assert.equal(await store.putIfAbsent("empty", new Uint8Array()), true);
      assert.equal(await store.putIfAbsent("empty", bytes("x")), false);
      await store.put("deep/put", bytes("put"));
      assert.equal(await second.putIfAbsent("deep/put", bytes("x")), false);
      assert.equal(text(await store.get("deep/put")), "put");
    });

    const race = async (store: ObjectStore, second: ObjectStore) => {
      for (let round = 0; round < 20; round += 1) {
        const key = `race/${round}`;
        const bodies = Array.from({ length: 10 }, (_, i) => bytes(`${i}`.repeat(1000)));
        const won = await Promise.all(bodies.map((body, i) => (i % 2 ? store : second).putIfAbsent(key, body)));
        assert.equal(won.filter(Boolean).length, 1);
        assert.deepEqual(plain(await store.get(key)), plain(bodies[won.indexOf(true)]!));
      }
    };
    check("exactly one of ten concurrent putIfAbsent calls wins, and its bytes are stored", race, ignoresConditions);

    check(
      "head and getWithEtag report the ETag of the content, and undefined for a missing object",
      async (store, second) => {
        for (const key of ["key", "a/b/missing"]) {
          assert.equal(await store.head(key), undefined);
          assert.equal(await store.getWithEtag(key), undefined);
        }
        await store.put("key", bytes("one"));
        const one = (await store.getWithEtag("key"))!;
        assert.equal(text(one.bytes), "one");
        assert.match(one.etag, /^[^"]+$/);
        assert.deepEqual(await second.head("key"), { etag: one.etag, size: 3 });
        await second.put("key", bytes("two"));
        assert.notEqual((await store.head("key"))!.etag, one.etag);
      },
    );

    check("replaceIf writes only over the object that was read", async (store, second) => {
      const made = await store.replaceIf("a/key", null, bytes("one"));
      assert.equal(made, (await second.head("a/key"))!.etag);
      assert.equal(await second.replaceIf("a/key", null, bytes("other")), null);
      const replaced = await second.replaceIf("a/key", made, bytes("two"));
      assert.equal(replaced, (await store.getWithEtag("a/key"))!.etag);
      assert.equal(await store.replaceIf("a/key", made, bytes("other")), null);
      assert.equal(text(await store.get("a/key")), "two");
      await store.remove("a/key");
      assert.equal(await store.replaceIf("a/key", replaced, bytes("other")), null);
      assert.deepEqual(await keys(store), []);
      await assert.rejects(store.replaceIf("../out", null, bytes("x")), isError("NOT_GRANTED"));
      await assert.rejects(store.head("../out"), isError("NOT_GRANTED"));
    });

    const counting = async (store: ObjectStore, second: ObjectStore) => {
      const increase = async (one: ObjectStore) => {
        for (;;) {
          const found = await one.getWithEtag("counter");
          const next = bytes(`${found ? Number(text(found.bytes)) + 1 : 1}`);
          if ((await one.replaceIf("counter", found?.etag ?? null, next)) !== null) return;
        }
      };
      await Promise.all(Array.from({ length: 20 }, (_, i) => increase(i % 2 ? store : second)));
      assert.equal(text(await store.get("counter")), "20");
    };
    check("no increment of twenty concurrent ones is lost with replaceIf", counting, ignoresConditions);

    check("an object that does not exist is STORE_NOT_FOUND with its key", async (store) => {
      await store.put("folder/key", bytes("x"));
      for (const key of ["nothing", "folder", "folder/other", "folder/key/below"]) {
        const expected = isError("STORE_NOT_FOUND", new RegExp(key));
        await assert.rejects(store.get(key), expected);
        await assert.rejects(joined(store.stream(key)), expected);
      }
    });

    check("refuses invalid keys in every method", async (store) => {
      const refused = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a/./b",
        "a\\b",
        "a\0b",
      ];
      refused.push("\ud800", "a/\udc00b", "x".repeat(1025), "é".repeat(513));
      refused.push(".a.0123456789abcdef.aside", "a/._lock.0123456789abcdef.claim/b");
      for (const key of refused) {
        const expected = isError("NOT_GRANTED");
        await assert.rejects(store.get(key), expected, key);
        await assert.rejects(joined(store.stream(key)), expected, key);
        await assert.rejects(store.put(key, bytes("x")), expected, key);
        await assert.rejects(store.putIfAbsent(key, bytes("x")), expected, key);
      }
      assert.deepEqual(await keys(store), []);
    });

    check("accepts unusual but valid keys", async (store) => {
      const odd = [
        "..a",
        "a..",
        "...",
        ".hidden",
        "a b",
        "ü/日本/😀",
        "%2e%2e",
        "-",
        "a:b",
        "a+b",
        "a?b#c&d=e",
        "a\nb",
        "__proto__",
        "x.aside",
      ];
      odd.push("é".repeat(120), `${"y".repeat(200)}/${"y".repeat(200)}`);
      const taken = odd.filter((key) => !refusedKeys.includes(key));
      for (const key of taken) await store.put(key, bytes(key));
      for (const key of taken) assert.equal(text(await store.get(key)), key);
      assert.deepEqual(new Set(await keys(store)), new Set(taken));
    });

    const listing = async (store: ObjectStore) => {
      // In bytes: ! 21, - 2d, . 2e, / 2f, 0 30, ￿ ef bf bf, 😀 f0. In UTF-16 the last two are in the other order.
      const all = ["a!", "a-b", "a.b", "a/a", "a/b/c", "a/￿", "a/😀", "a0", "b", "part-1", "part-10", "part-2"];
      for (const [i, key] of [...all].reverse().entries()) await store.put(key, new Uint8Array(i));
      const listed = await collected(store.list(""));
      assert.deepEqual(
        listed,
        all.map((key, i) => ({ key, size: all.length - 1 - i })),
      );
      for (const prefix of [
        "a",
        "a/",
        "a!",
        "a/b",
        "a/b/",
        "a/b/c",
        "part-",
        "part-1",
        "part-10",
        "z",
        "a/b/c/",
        "/",
        "../",
      ])
        assert.deepEqual(
          await keys(store, prefix),
          all.filter((key) => key.startsWith(prefix)),
          prefix,
        );
    };
    check("lists by prefix, in the keys' byte order, with sizes", listing, ordersOtherwise);

    const large = async (store: ObjectStore) => {
      const body = randomBytes(BIG_BYTES);
      assert.equal(await store.putIfAbsent("absent", body), true);
      async function* slowly() {
        for (let at = 0; at < body.length; at += 1_000_001) yield body.subarray(at, at + 1_000_001);
      }
      await store.put("put", slowly());
      assert.ok(body.equals(await store.get("absent")));
      assert.ok(body.equals(await joined(store.stream("put"))));
      for await (const piece of store.stream("put")) assert.ok(piece.length <= 8_000_000);
    };
    check("stores 30 MB, whole and as a stream, by put and by putIfAbsent", large, limitsBody);

    check("a reader sees one object, the old or the new, while it is replaced", async (store, second) => {
      const body = (fill: number) => new Uint8Array(REPLACED_BYTES).fill(fill);
      await store.put("key", body(0));
      const stream = store.stream("key")[Symbol.asyncIterator]();
      const seen = [(await stream.next()).value as Uint8Array];
      let writing = true;
      const writes = (async () => {
        for (let fill = 1; fill <= 20; fill += 1) await second.put("key", body(fill));
        writing = false;
      })();
      while (writing) {
        const got = await store.get("key");
        assert.ok(Buffer.from(body(got[0]!)).equals(got));
      }
      await writes;
      for (let next = await stream.next(); !next.done; next = await stream.next()) seen.push(next.value);
      assert.ok(Buffer.concat(seen).equals(body(0)));
      assert.equal((await store.get("key"))[0], 20);
    });

    check("a reader may stop in the middle of a stream", async (store) => {
      await store.put("key", new Uint8Array(3_000_000));
      for await (const piece of store.stream("key")) {
        assert.ok(piece.length > 0);
        break;
      }
      await store.put("key", bytes("after"));
      assert.equal(text(await store.get("key")), "after");
    });
  });
}

export function isError(code: LabelmillError["code"], message = /./): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof LabelmillError, `a LabelmillError, not ${error}`);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

export async function keys(store: ObjectStore, prefix = ""): Promise<string[]> {
  return (await collected(store.list(prefix))).map(({ key }) => key);
}

export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

export function text(content: Uint8Array): string {
  return Buffer.from(content).toString("utf8");
}

/** A Buffer and a Uint8Array of the same bytes are not deeply equal. */
function plain(content: Uint8Array): Uint8Array {
  return Uint8Array.from(content);
}

async function collected<T>(all: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of all) found.push(each);
  return found;
}

async function joined(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  return Buffer.concat(await collected(stream));
}

async function* pieces(...contents: string[]): AsyncGenerator<Uint8Array> {
  for (const content of contents) yield bytes(content);
}
