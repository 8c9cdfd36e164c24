import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { freePort } from "../../../src/redis/embedded/launch.ts";
import { readPart } from "../../../src/rows/part.ts";
import { singleKey } from "../../../src/schemas/names.ts";
import { openToRead } from "../../../src/storage/open.ts";
import type { S3 } from "../../../src/storage/s3/s3.ts";
import type { ReadableStore } from "../../../src/storage/store.ts";
import { type RunningCommand, Workspace } from "../../helpers/cli.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";
import { openTestBucket } from "../../helpers/servers/s3-bucket.ts";

const { server, s3, bucket } = await openTestBucket();
const FROG = await readFile(join(import.meta.dirname, "../../../examples/images/frog-on-forest-floor.jpg"));
const CLIENTS = 8;
const ITEMS = 3;
/** Accepted submissions after which the server is killed. */
const ROUND = 40;
const ROUNDS = 3;

type Place = { out: string; state: string; env: Record<string, string>; open: () => Promise<ReadableStore>; s3?: S3 };

/** Submits until the server is killed. @returns every run whose 202 arrived, with the ids of its items */
async function submitUntilKilled(url: string, round: number, server: RunningCommand): Promise<Map<string, string[]>> {
  const accepted = new Map<string, string[]>();
  let number = 0;
  const client = async () => {
    for (;;) {
      const mine = number++;
      const ids = Array.from({ length: ITEMS }, (_, i) => `${round}-${mine}-${i}`);
      const isImage = mine % 10 === 9;
      const items = ids.map((id) =>
        isImage ? { id, data: FROG.toString("base64") } : { id, text: `a good film ${id}` },
      );
      const body = JSON.stringify({ items });
      const init = { method: "POST", headers: { "content-type": "application/json" }, body };
      try {
        const response = await fetch(`${url}/v1/label/${isImage ? "images" : "text"}`, init);
        const { run } = (await response.json()) as { run: string };
        if (response.status === 202) accepted.set(run, ids);
      } catch {
        return;
      }
      if (accepted.size >= ROUND) server.child.kill("SIGKILL");
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  return accepted;
}

async function killWhileAccepting({ out, state, env, open, s3: client }: Place, work: Workspace): Promise<void> {
  await using pipeline = await TestPipeline.open();
  const port = String(await freePort());
  const url = `http://127.0.0.1:${port}`;
  const start = async (): Promise<RunningCommand> => {
    const models = ["--models", "tiny-sentiment", "tiny-image"];
    const command = work.start(["serve", ...models, "--out", out, "--state", state, "--port", port], {
      env: { REDIS_URL: pipeline.redis.url, ...env },
    });
    await command.says("Listening on");
    return command;
  };
  const roots = out.startsWith("s3:") ? { files: [], s3: [out] } : { files: [out], s3: [] };
  const accepted = new Map<string, string[]>();
  for (let round = 0; round < ROUNDS; round++) {
    const running = await start();
    for (const [run, ids] of await submitUntilKilled(url, round, running)) accepted.set(run, ids);
    assert.equal((await running.ended).signal, "SIGKILL");
    // The second server is followed by an empty Redis.
    if (round === 1) await pipeline.redis.restart();
  }
  const last = await start();
  // Not earlier: the emptied Redis must have lost submissions. Redis has a TCP address, which stays.
  const redis = { url: pipeline.redis.url };
  const models = ["tiny-sentiment", "tiny-image"];
  await pipeline.worker({}, { redis, models, roots, ...(client ? { s3: server.settings } : {}) });
  assert.ok(accepted.size >= ROUNDS * ROUND, `${accepted.size} submissions were accepted`);
  const store = await open();
  let rows = 0;
  for (const [run, ids] of accepted) {
    const patience = { signal: AbortSignal.timeout(30_000) };
    const events = await (await fetch(`${url}/v1/runs/${run}/events`, patience)).text();
    assert.match(events, /event: end\n.*"state":"succeeded"/, `${run}: ${events}`);
    const part = readPart(await store.get(singleKey(run)));
    assert.deepEqual(
      part.rows.map(({ id }) => id),
      ids,
    );
    rows += part.rows.filter((row) => "label" in row).length;
  }
  assert.equal(rows, accepted.size * ITEMS, "every accepted item is labeled once");
  last.child.kill("SIGTERM");
  assert.equal((await last.ended).code, 0);
}

test("kill -9 of the server while it accepts: every accepted item is labeled, in a folder", async () => {
  await using work = await Workspace.open();
  const out = work.file("out");
  const state = work.file("state");
  await killWhileAccepting({ out, state, env: {}, open: () => openToRead(`file://${out}/`) }, work);
});

test("kill -9 of the server while it accepts: every accepted item is labeled, on S3", async () => {
  await using work = await Workspace.open();
  const out = `s3://${bucket}/out/`;
  const place = { out, state: `s3://${bucket}/state/`, env: server.env, open: () => openToRead(out, s3), s3 };
  await killWhileAccepting(place, work);
});
