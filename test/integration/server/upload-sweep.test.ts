import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { createLogger } from "../../../src/logger.ts";
import { UploadSweep } from "../../../src/server/label/upload-sweep.ts";
import { TestApi } from "../../helpers/servers/api.ts";

const FROG = await readFile(join(import.meta.dirname, "../../../examples/images/frog-on-forest-floor.jpg"));
const DAY_MS = 86_400_000;
const OPTIONS = { models: ["tiny-image"], settings: { keepUploads: "always" } } as const;

function sweepAt(api: TestApi, days: number): Promise<number> {
  const { store, redis, models } = api.deps;
  const log = createLogger("silent", false);
  return new UploadSweep({ store, redis, models, log, keepMs: 7 * DAY_MS }, () => Date.now() + days * DAY_MS).sweep();
}

async function uploads(api: TestApi): Promise<string[]> {
  const names = await readdir(join(api.pipeline.folder, "output"), { recursive: true });
  return names.filter((name) => name.startsWith("_uploads/")).sort();
}

const body = { items: [{ data: FROG.toString("base64") }] };

test("uploads are removed 7 days after their run was found ended, by any server", async () => {
  await using api = await TestApi.open({ ...OPTIONS, models: ["tiny-image"] });
  const answer = await api.post("/v1/label/images", body, { prefer: "wait=30" });
  assert.equal(answer.status, 200);
  // An upload without a run: its request was refused, or the server died.
  await api.deps.store.put("_uploads/00000000000000aa/0000", FROG);
  assert.equal((await uploads(api)).filter((name) => name.endsWith("/0000")).length, 2);
  assert.deepEqual(await Promise.all([sweepAt(api, 1), sweepAt(api, 1)]), [0, 0]);
  assert.equal(await sweepAt(api, 7), 0);
  assert.equal((await uploads(api)).filter((name) => name.endsWith("/0000")).length, 2);
  await Promise.all([sweepAt(api, 8.1), sweepAt(api, 8.1)]);
  assert.deepEqual(await uploads(api), []);
});

test("uploads stay while their run waits, also where only Redis knows of it", async () => {
  await using api = await TestApi.open({ ...OPTIONS, models: ["tiny-image"], worker: false });
  const accepted = (await (await api.post("/v1/label/images", body)).json()) as { run: string };
  const { run } = accepted;
  const image = `_uploads/${run}/0000`;
  // A sweep that ran before the run was accepted.
  await api.deps.store.put(`_uploads/${run}/ended-1000000000`, new Uint8Array());
  assert.equal(await sweepAt(api, 30), 0);
  assert.deepEqual(
    (await uploads(api)).filter((name) => name.startsWith(`${image.slice(0, -4)}`)),
    [image],
  );
  await api.deps.store.remove(`_accepted/${run}.json`);
  for (const days of [30, 60]) assert.equal(await sweepAt(api, days), 0);
  assert.ok((await uploads(api)).includes(image), "its job is in the queue");
  await api.deps.redis.flushall();
  assert.deepEqual([await sweepAt(api, 30), await sweepAt(api, 37)], [0, 1]);
});

test("an upload with another id than its run is kept and removed with it", async () => {
  await using api = await TestApi.open({ ...OPTIONS, models: ["tiny-image"], worker: false });
  const form = new FormData();
  form.set("images", new Blob([new Uint8Array(FROG)]), "frog.jpg");
  const headers = { "idempotency-key": "a" };
  const answer = await api.fetch("/v1/label/images", { method: "POST", headers, body: form });
  const { run } = (await answer.json()) as { run: string };
  const names = await uploads(api);
  assert.ok(names.some((name) => name.endsWith(`/run-${run}`)) && !names.includes(`_uploads/${run}`));
  for (const days of [1, 30]) assert.equal(await sweepAt(api, days), 0);
  await api.deps.store.remove(`_accepted/${run}.json`);
  await api.deps.redis.flushall();
  assert.deepEqual([await sweepAt(api, 30), await sweepAt(api, 37)], [0, 1]);
  assert.deepEqual(await uploads(api), []);
});
