import assert from "node:assert/strict";
import { test } from "node:test";
import { waitForRoom } from "../../../src/events/backlog.ts";
import { Backlog } from "../../../src/producers/client/backlog.ts";
import { TestApi } from "../../helpers/servers/api.ts";

test("a consumer waits while items wait for too long, and a stop ends its wait", async () => {
  await using api = await TestApi.open({ worker: false });
  const { accepter, redis, models } = api.deps;
  const { pin } = models.default();
  const never = new AbortController().signal;
  await waitForRoom(new Backlog(redis), [pin], 1, never);
  for (let i = 0; i < 15; i++)
    await accepter.accept({ submission: { model: "tiny-sentiment", texts: [`text ${i}`] }, owner: "-" });
  const stop = new AbortController();
  let isWaiting = true;
  // Without a measured rate, ten items a second are assumed.
  const waiting = waitForRoom(new Backlog(redis), [pin], 1, stop.signal).finally(() => {
    isWaiting = false;
  });
  waiting.catch(() => {});
  await waitForRoom(new Backlog(redis), [pin], 2, never);
  assert.equal(isWaiting, true);
  stop.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  const room = waitForRoom(new Backlog(redis), [pin], 1, never);
  await api.pipeline.worker();
  await room;
});
