import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { Idempotency } from "../../../src/producers/accept/idempotency.ts";
import { deriveRunId } from "../../../src/producers/accept/run-id.ts";
import { serverSecret } from "../../../src/producers/accept/server-secret.ts";
import { FsStore } from "../../../src/storage/fs/store.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";
import { temporaryFolder } from "../../helpers/runs/pipeline.ts";
import { isError } from "../../helpers/store-conformance.ts";

const HOUR = 3_600_000;
const SECRET = "5".repeat(64);
const memory = () => new MemoryStore(`accept-${randomBytes(8).toString("hex")}`);

test("a run id follows from the secret and from each part", () => {
  const id = deriveRunId("s", "owner", "key");
  assert.match(id, /^[0-9a-f]{16}$/);
  assert.equal(deriveRunId("s", "owner", "key"), id);
  const others = [
    deriveRunId("t", "owner", "key"),
    deriveRunId("s", "ownerk", "ey"),
    deriveRunId("s", "owner", "key", ""),
    deriveRunId("s", '["owner","key"]'),
  ];
  assert.equal(new Set([id, ...others]).size, 5);
});

test("a key stands for its first body for 24 hours, for each owner", async () => {
  const state = memory();
  let now = Date.parse("2026-01-01T00:00:00Z");
  const open = () => new Idempotency(state, SECRET, () => now);
  const first = await open().runOf({ owner: "a", key: "k", body: "1" });
  now += 24 * HOUR - 1;
  assert.equal(await open().runOf({ owner: "a", key: "k", body: "1" }), first);
  await assert.rejects(open().runOf({ owner: "a", key: "k", body: "2" }), isError("IDEMPOTENCY_CONFLICT"));
  const other = await open().runOf({ owner: "b", key: "k", body: "2" });
  assert.notEqual(other, first);
  now += 1;
  const second = await open().runOf({ owner: "a", key: "k", body: "2" });
  assert.notEqual(second, first);
  assert.equal(await open().runOf({ owner: "a", key: "k", body: "2" }), second);
});

test("concurrent callers with one key get one run, also when a record has expired", async () => {
  await using folder = await temporaryFolder();
  const state = await FsStore.open(folder.path);
  let now = Date.now();
  const runs = async () => {
    const servers = Array.from({ length: 8 }, () => new Idempotency(state, SECRET, () => now++));
    return new Set(await Promise.all(servers.map((server) => server.runOf({ owner: "a", key: "k", body: "1" }))));
  };
  const [first] = [...(await runs())];
  assert.deepEqual([...(await runs())], [first]);
  now += 25 * HOUR;
  const [second, ...rest] = [...(await runs())];
  assert.deepEqual(rest, []);
  assert.notEqual(second, first);
});

test("the store names neither owners nor keys", async () => {
  const state = memory();
  await new Idempotency(state, SECRET).runOf({ owner: "customer", key: "order-7", body: "{}" });
  for await (const { key } of state.list("")) {
    assert.match(key, /^idempotency\/[0-9a-f]{64}\.json$/);
    assert.doesNotMatch(Buffer.from(await state.get(key)).toString(), /customer|order-7/);
  }
});

test("servers that share a state store have one secret; another file there is refused without its content", async () => {
  await using folder = await temporaryFolder();
  const state = await FsStore.open(folder.path);
  const secrets = await Promise.all(Array.from({ length: 8 }, () => serverSecret(state)));
  assert.equal(new Set(secrets).size, 1);
  assert.match(secrets[0]!, /^[0-9a-f]{64}$/);
  assert.equal(await serverSecret(state), secrets[0]);
  for (const text of ["hunter2", '{"v":1,"secret":"hunter2"}']) {
    await state.put("server-secret.json", Buffer.from(text));
    await assert.rejects(serverSecret(state), (error: Error) => {
      assert.doesNotMatch(error.message, /hunter2/);
      return isError("CONFIG_INVALID")(error);
    });
  }
});
