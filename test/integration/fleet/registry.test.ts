import assert from "node:assert/strict";
import { after, test } from "node:test";
import { BEAT_MS, servedAs, serving, WorkerRegistry } from "../../../src/fleet/registry.ts";
import { openRedis } from "../../../src/redis/connect.ts";
import { Turns } from "../../../src/runs/queues/fair-turns.ts";
import { KEY_PREFIX } from "../../../src/schemas/names.ts";
import type { WorkerInfo } from "../../../src/schemas/worker.ts";
import { modelWork, servedModel, workerInfo } from "../../helpers/runs/worker-info.ts";
import { startTestRedis } from "../../helpers/servers/redis.ts";

const server = await startTestRedis();
const redis = await openRedis(server.address, "producer");
const registry = new WorkerRegistry(redis);
after(async () => {
  redis.disconnect();
  await server.close();
});

const digest = (digit: string) => digit.repeat(64);

function worker(id: string, startedAt: string, models: [string, string][]): WorkerInfo {
  const served = models.map(([name, digit]) => servedModel({ id: name, digest: digest(digit) }));
  return workerInfo({ id: id.repeat(16), startedAt, models: served });
}

test("a worker is registered from its first beat until it leaves or misses three beats", async () => {
  const [a, b] = [worker("a", "2026-01-02T00:00:00Z", [["m", "1"]]), worker("b", "2026-01-01T00:00:00Z", [["m", "2"]])];
  await registry.beat(a);
  await registry.beat(b);
  assert.deepEqual(await registry.workers(), [b, a], "in the order of their start");
  const ttl = await redis.pttl(`${KEY_PREFIX}:worker:${a.id}`);
  assert.ok(ttl > 3 * BEAT_MS && ttl < 4 * BEAT_MS, `${ttl} ms`);
  await registry.leave(b.id);
  assert.deepEqual(await registry.workers(), [a]);
  // As after the end of the time to live.
  await redis.del(`${KEY_PREFIX}:worker:${a.id}`);
  assert.deepEqual(await registry.workers(), []);
  assert.equal(await redis.exists(`${KEY_PREFIX}:workers`), 0, "its id is removed too");
});

test("records of another version that cannot be read are skipped", async () => {
  const a = worker("c", "2026-01-02T00:00:00Z", [["m", "1"]]);
  await registry.beat(a);
  await redis.multi().set(`${KEY_PREFIX}:worker:x`, '{"v":2}').sadd(`${KEY_PREFIX}:workers`, "x").exec();
  await redis.multi().set(`${KEY_PREFIX}:worker:y`, "no JSON").sadd(`${KEY_PREFIX}:workers`, "y").exec();
  assert.deepEqual(await registry.workers(), [a]);
  for (const id of ["x", "y", a.id]) await registry.leave(id);
});

test("a worker of an older or newer version is listed with the fields that can be read", async () => {
  const [model, work] = [servedModel(), modelWork()];
  const write = (info: object) => redis.set(`${KEY_PREFIX}:worker:x`, JSON.stringify(info));
  await redis.sadd(`${KEY_PREFIX}:workers`, "x");
  const older = workerInfo({ models: [model] });
  await write(older);
  assert.deepEqual(await registry.workers(), [older]);
  const newer = { ...older, surprise: 1, models: [{ ...model, surprise: 2, work: { ...work, surprise: 3 } }] };
  await write(newer);
  assert.deepEqual(await registry.workers(), [{ ...older, models: [{ ...model, work }] }]);
  await write({ ...older, models: [{ ...model, work: { ...work, busy: "very" } }] });
  assert.deepEqual(await registry.workers(), [{ ...older, models: [{ ...model, work: undefined }] }]);
  await registry.leave("x");
});

test("the name of a model finds each served version once; a digest selects one", () => {
  const workers = [
    worker("a", "2026-01-01T00:00:00Z", [["m", "1"]]),
    worker("b", "2026-01-01T00:00:00Z", [
      ["m", "1"],
      ["n", "3"],
    ]),
    worker("c", "2026-01-01T00:00:00Z", [["m", "2"]]),
  ];
  const found = (name: string) => servedAs(workers, name).map((model) => model.digest[0]);
  assert.deepEqual(
    [found("m"), found("m@2"), found("n"), found("n@1"), found("x")],
    [["1", "2"], ["2"], ["3"], [], []],
  );
  assert.equal(serving(workers, digest("1")).length, 2);
});

test("a later run takes turns with an earlier one, and neither waits forever", async () => {
  const turns = new Turns(redis, "q");
  const big: number[] = [];
  while (big.length < 5) big.push(await turns.next(big.at(-1) ?? 0));
  assert.deepEqual(big, [1, 2, 3, 4, 5]);
  await turns.taken(3);
  assert.equal(await turns.next(0), 3, "the next slice to be taken, not the end of the queue");
  await turns.taken(2);
  assert.equal(await turns.next(0), 3, "a slice that is taken late does not lower the turn");
  assert.equal(await turns.next(5_000_000), 2_097_151, "BullMQ's last priority");
  assert.ok((await redis.ttl(`${KEY_PREFIX}:turn:q`)) > 0);
});

test("a model is known for 30 days after its last worker, with its pin, labels and rate", async () => {
  const model = servedModel({ id: "last", digest: digest("9"), labels: 7, itemsPerSecond: 12.5 });
  await registry.beat(workerInfo({ id: "9".repeat(16), models: [model] }));
  await registry.leave("9".repeat(16));
  const last = await registry.lastOf(digest("9"));
  assert.deepEqual([last?.id, last?.labels, last?.itemsPerSecond, last?.dtype], ["last", 7, 12.5, model.dtype]);
  const known = async () => (await registry.lastServed()).map(({ id }) => id).includes("last");
  assert.equal(await known(), true);
  const seenAt = new Date(Date.now() - 31 * 24 * 3_600_000).toISOString();
  await redis.hset(`${KEY_PREFIX}:models:last`, digest("9"), JSON.stringify({ ...last, seenAt }));
  assert.equal(await registry.lastOf(digest("9")), undefined);
  assert.equal(await known(), false);
  assert.equal(await redis.hexists(`${KEY_PREFIX}:models:rates`, digest("9")), 0);
});
