import assert from "node:assert/strict";
import { test } from "node:test";
import { openRedis } from "../../../src/redis/connect.ts";
import { type Ended, type RunningCommand, Workspace } from "../../helpers/cli.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

function count({ stderr }: Ended, form: RegExp): number {
  return stderr.match(form)?.length ?? 0;
}

test("commands report an outage of Redis beyond the lock time in one line, and continue after it", async () => {
  await using redis = await TcpRedis.start();
  await using work = await Workspace.open();
  await writeTextModel(work.file("slow"), { weights: [1, -1], bias: [0, 0], slow: 4_000 });
  await writeTexts(work.file("texts.csv"), 160);
  const env = { REDIS_URL: redis.url, LABELMILL_FILE_ROOTS: work.path };
  const locks = ["--lock-ms", "2000", "--stall-check-ms", "500", "--threads", "1", "--text-budget", "32"];
  const worker = work.start(["worker", "--models", work.file("slow"), ...locks], { env });
  await worker.says("Serving");
  const flags = ["--kind", "text", "texts.csv", "--model", work.file("slow"), "--out", "out", "--slice-items", "20"];
  const { stdout } = await work.expect(0, ["run", "submit", ...flags, "--shared-files"], { env });
  const run = stdout.trim();
  const watch = work.start(["run", "watch", run, "--log-level", "debug"], { env });
  const follower = work.start(["results", "--follow", "--log-level", "debug"], { env });
  await watch.says("watching");
  await follower.says("listening");

  const admin = await openRedis(redis.address, "worker");
  while ((await admin.keys("*.bulk:*:lock")).length === 0);
  redis.cut();
  await Promise.all([worker.says("connection to Redis lost"), watch.says("is lost"), follower.says("is lost")]);
  while ((await admin.keys("*:lock")).length > 0);
  redis.restore();
  admin.disconnect();
  await Promise.all([worker.says("connection to Redis is back"), watch.says("is back"), follower.says("is back")]);

  const watched = await watch.ended;
  assert.equal(watched.code, 0, watched.stderr);
  await work.expect(0, ["verify", "out"]);
  const ended = async (command: RunningCommand) => {
    command.child.kill("SIGINT");
    return command.ended;
  };
  const [served, followed] = [await ended(worker), await ended(follower)];
  assert.equal(served.code, 0, served.stderr);
  for (const each of [watched, followed]) {
    assert.equal(
      count(each, /^Redis at redis:\/\/[^ ]+ is lost since \d\d:\d\d:\d\d UTC \(.+\): trying again\. /gm),
      1,
      each.stderr,
    );
    assert.equal(count(each, /^Redis is back after /gm), 1, each.stderr);
  }
  assert.equal(count(served, /"why":"[^"]+","msg":"connection to Redis lost: trying again\. Running slices go on/g), 1);
  assert.equal(count(served, /"seconds":\d+,"msg":"connection to Redis is back"/g), 1);
  assert.ok(count(served, /locks could not be renewed/g) <= 2, "one line for each queue");
  for (const each of [watched, followed, served]) {
    assert.doesNotMatch(each.stderr, /\[ioredis\]|Unhandled|"stack"|"args"|^ +at /m);
    assert.ok(each.stderr.split("\n").length < 20, each.stderr);
  }
});

test("a command that only reads reports the loss of Redis in one line", async () => {
  await using redis = await TcpRedis.start();
  await using work = await Workspace.open();
  const env = { REDIS_URL: redis.url };
  // Redis answers every command until the one that lists the runs.
  redis.loseAt("zrevrange");
  const { stderr } = await work.expect(1, ["run", "list"], { env });
  assert.match(
    stderr,
    /^labelmill: REDIS_UNREACHABLE: lost Redis at redis:\/\/127\.0\.0\.1:\d+: run the same command again[^\n]*\n$/,
  );
});
