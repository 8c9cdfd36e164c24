import assert from "node:assert/strict";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { connectRedis } from "../../../src/redis/connect.ts";
import { Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";

test("a command whose own Redis server dies ends with one error, and the same command resumes", async () => {
  await using work = await Workspace.open();
  await writeTexts(work.file("texts.csv"), 120);
  await writeTextModel(work.file("slow"), { weights: [1, -1], bias: [0, 0], slow: 10_000 });
  const slow = ["--model", "slow", "--threads", "1", "--text-budget", "32"];
  const command = [
    "label",
    "text",
    "--model",
    "tiny-sentiment",
    "texts.csv",
    "--out",
    "out",
    "--slice-items",
    "10",
    ...slow,
  ];
  const first = work.start(command);
  await first.says("Run ");
  await first.until(work.file("out"), async () =>
    (await readdir(work.file("out"))).some((name) => /^part-/.test(name)),
  );

  const folder = (await readdir(work.file("tmp"))).find((name) => name.startsWith("labelmill-"))!;
  const redis = connectRedis({ socket: work.file("tmp", folder, "redis.sock") }, "worker");
  await redis.connect();
  const closed = once(redis, "close");
  const diedAt = performance.now();
  redis.shutdown("NOSAVE").catch(() => {});
  await closed;
  redis.disconnect();
  await first.says("REDIS_UNREACHABLE");
  assert.ok(performance.now() - diedAt < 5000, "at once, not after the grace time");
  const { code, stderr } = await first.ended;
  assert.equal(code, 1, stderr);
  assert.match(stderr, /^labelmill: REDIS_UNREACHABLE: .*run the same command again/m);
  assert.equal(stderr.match(/connection to Redis lost/g)?.length, 1, stderr);
  assert.ok(stderr.split("\n").length < 10, stderr);

  const again = await work.expect(0, command);
  assert.doesNotMatch(again.stderr, /"level"|lost/, "no warning if nothing was lost");
  await work.expect(0, ["verify", "out"]);
});
