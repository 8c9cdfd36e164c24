import assert from "node:assert/strict";
import { test } from "node:test";
import { TestApi } from "../../helpers/servers/api.ts";

test("a server lists its models and workers", async () => {
  await using api = await TestApi.open({ models: ["tiny-sentiment", "tiny-image"] });
  const { models } = (await (await api.fetch("/v1/models")).json()) as { models: Record<string, unknown>[] };
  assert.deepEqual(
    models.map(({ name, task, declared, workers, labelNames }) => [
      name,
      task,
      declared,
      workers,
      (labelNames as []).length,
    ]),
    [
      ["tiny-sentiment", "text-classification", true, 1, 2],
      ["tiny-image", "image-classification", true, 1, api.deps.models.find("tiny-image")!.labels],
    ],
  );
  const { workers } = (await (await api.fetch("/v1/workers")).json()) as { workers: Record<string, unknown>[] };
  assert.equal(workers.length, 1);
  assert.deepEqual(Object.keys(workers[0]!).sort(), ["id", "models", "software", "startedAt"]);
});

test("a declared model is listed while no worker serves it", async () => {
  await using api = await TestApi.open({ worker: false });
  const { models } = (await (await api.fetch("/v1/models")).json()) as { models: Record<string, unknown>[] };
  assert.deepEqual(
    models.map(({ name, declared, workers }) => [name, declared, workers]),
    [["tiny-sentiment", true, 0]],
  );
});
