import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { openRedis } from "../../../src/redis/connect.ts";
import { queuedItems } from "../../../src/runs/queues/backlog.ts";
import { queueName } from "../../../src/schemas/names.ts";
import { Workspace } from "../../helpers/cli.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

type Json = Record<string, unknown>;

const JSON_TYPE = { "content-type": "application/json" };

test("at a signal, waiting requests get 202, streams a last event, and a worker labels the runs later", async () => {
  await using redis = await TcpRedis.start();
  await using work = await Workspace.open();
  const env = { REDIS_URL: redis.url };
  const server = work.start(
    ["serve", "--models", "tiny-sentiment", "--port", "0", "--out", "out", "--state", "state", "--grace-ms", "600000"],
    { env },
  );
  await server.says("Try:");
  const url = /^Listening on (\S+)$/m.exec(server.stderr)![1]!;
  const post = (items: string[], headers: Record<string, string>) =>
    fetch(`${url}/v1/label/text`, {
      method: "POST",
      headers: { ...JSON_TYPE, ...headers },
      body: JSON.stringify({ items }),
    });
  const first = (await (await post(["good"], {})).json()) as Json;
  const stream = await fetch(`${url}/v1/runs/${first.run}/events`);
  const reader = stream.body!.getReader();
  let events = "";
  while (!events.includes("event: progress")) events += new TextDecoder().decode((await reader.read()).value);
  const waiting = post(["bad"], { prefer: "wait=100" });
  const { models } = (await (await fetch(`${url}/v1/models`)).json()) as { models: { id: string; digest: string }[] };
  const connection = await openRedis(redis.address, "worker");
  while ((await queuedItems(connection, queueName(models[0]!, "interactive"))) < 2);
  connection.disconnect();

  server.child.kill("SIGTERM");
  const answer = await waiting;
  assert.equal(answer.status, 202);
  const second = (await answer.json()) as Json;
  for (let piece = await reader.read(); !piece.done; piece = await reader.read())
    events += new TextDecoder().decode(piece.value);
  assert.match(events, /event: stopping/);
  assert.equal((await server.ended).code, 0);

  const worker = work.start(["worker", "--models", "tiny-sentiment", "--file-roots", work.file("out")], { env });
  await worker.until(work.file("out"), async () => {
    return [first, second].every(({ run }) => existsSync(work.file("out", `single-${run}.jsonl`)));
  });
});
