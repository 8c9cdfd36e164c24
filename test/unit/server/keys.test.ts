import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "../../../src/logger.ts";
import { equalHashes, hashOfKey, idOfKey, makeKey } from "../../../src/server/keys/key.ts";
import { KeyRing } from "../../../src/server/keys/key-ring.ts";
import { KeyStore } from "../../../src/server/keys/key-store.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { LogLines } from "../../helpers/log-lines.ts";

const log = createLogger("silent", false);
let stores = 0;
const newState = () => new MemoryStore(`keys-${stores++}`);

/** A store that counts its lists, and can be switched off. */
class CountingStore extends MemoryStore {
  lists = 0;
  isDown = false;

  override async *list(prefix: string) {
    this.lists += 1;
    if (this.isDown) throw new Error("down");
    yield* super.list(prefix);
  }
}

test("a key has 256 random bits, and only its hash is stored", async () => {
  const { id, key } = makeKey();
  assert.match(key, /^lm_[0-9a-f]{8}_[\w-]{43}$/);
  assert.equal(idOfKey(key), id);
  const state = newState();
  const made = await KeyStore.create(state, { name: "app", scopes: ["submit"] });
  const stored = new TextDecoder().decode(await state.get(`keys/${made.record.id}.json`));
  assert.ok(!stored.includes(made.key) && !stored.includes(made.key.slice(12)));
  assert.ok(stored.includes(hashOfKey(made.key)));
});

test("hashes are equal only if all of them is equal", () => {
  const hash = hashOfKey("a");
  assert.ok(equalHashes(hash, hash));
  assert.ok(!equalHashes(hash, hashOfKey("b")));
  assert.ok(!equalHashes(hash, hash.slice(2)));
  assert.ok(!equalHashes(hash, ""));
});

test("a revoked key stays on record, and revoking it again changes nothing", async () => {
  const state = newState();
  const { record } = await KeyStore.create(state, { name: "app", scopes: ["read"] });
  const first = await KeyStore.revoke(state, record.id);
  assert.deepEqual(await KeyStore.revoke(state, record.id), first);
  const store = new KeyStore(state);
  assert.deepEqual(await store.all(), [first]);
  assert.deepEqual(await store.ids(), []);
  assert.ok(await store.hasRecords());
  await assert.rejects(KeyStore.revoke(state, "00000000"), { code: "USAGE" });
});

test("a ring finds a key that is created later, and reads the store at most once in 2 s for unknown keys", async () => {
  const state = new CountingStore(`keys-${stores++}`);
  let now = 0;
  const ring = await KeyRing.open({ store: new KeyStore(state), log, now: () => now });
  const before = state.lists;
  for (let i = 0; i < 50; i++) assert.equal(await ring.find(makeKey().key), undefined);
  assert.equal(state.lists, before);
  now += 2_001;
  const { key, record } = await KeyStore.create(state, { name: "", scopes: ["submit"] });
  assert.equal((await ring.find(key))?.owner, record.owner);
  ring.close();
});

test("a revoked key is refused after the keys are read again, 20 s later at the latest", async () => {
  const state = newState();
  const { key, record } = await KeyStore.create(state, { name: "", scopes: ["submit"] });
  let now = 0;
  const ring = await KeyRing.open({ store: new KeyStore(state), log, now: () => now });
  await KeyStore.revoke(state, record.id);
  now = 20_001;
  assert.equal(await ring.find(key), undefined);
  assert.ok(await ring.hasAny());
  ring.close();
});

test("if the state store is down, keys are used for 20 s and then answered with 503", async () => {
  const state = new CountingStore(`keys-${stores++}`);
  const { key } = await KeyStore.create(state, { name: "", scopes: ["submit"] });
  let now = 0;
  const ring = await KeyRing.open({ store: new KeyStore(state), log, now: () => now });
  state.isDown = true;
  now = 19_000;
  assert.ok(await ring.find(key));
  now = 20_001;
  await assert.rejects(ring.find(key), { code: "STORE_FAILED", status: 503 });
  state.isDown = false;
  assert.ok(await ring.find(key));
  ring.close();
});

test("a record that cannot be read is logged, and the other keys work", async () => {
  const state = newState();
  const { key } = await KeyStore.create(state, { name: "", scopes: ["submit"] });
  await state.put("keys/00000000.json", new TextEncoder().encode("{"));
  await state.put("keys/notes.txt", new TextEncoder().encode("of another program"));
  const lines = new LogLines();
  const ring = await KeyRing.open({ store: new KeyStore(state), log: lines.log });
  assert.ok(await ring.find(key));
  assert.equal(lines.lines.filter((line) => line.key === "00000000").length, 1);
  ring.close();
});

test("a key that replaces another one owns its runs", async () => {
  const state = newState();
  const old = await KeyStore.create(state, { name: "", scopes: ["submit"] });
  const { key } = await KeyStore.create(state, { name: "", scopes: ["read"], owner: old.record.id });
  const ring = await KeyRing.open({ store: new KeyStore(state), log });
  assert.equal((await ring.find(key))?.owner, old.record.id);
  ring.close();
});
