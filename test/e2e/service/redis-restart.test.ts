import assert from "node:assert/strict";
import { test } from "node:test";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { jsonOf, Workspace } from "../../helpers/cli.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

test("after Redis restarts empty in the middle of a run on S3, the same command finishes the run", async () => {
  await using server = await startTestS3();
  await using redis = await TcpRedis.start();
  await using work = await Workspace.open();
  const bucket = await server.makeBucket();
  const env = { ...server.env, REDIS_URL: redis.url, LABELMILL_S3_ROOTS: `s3://${bucket}` };
  const worker = work.start(["worker", "--models", "tiny-sentiment"], { env });
  await worker.says("Serving");
  const out = `s3://${bucket}/out/`;
  const csv = await writeTexts(work.file("texts.csv"), 4_000);
  const args = ["label", "text", "--model", "tiny-sentiment", csv, "--out", out, "--slice-items", "100"];
  const first = work.start(args, { env });
  await first.says("Run ");
  const s3 = new S3(server.settings);
  const parts = async () => {
    let count = 0;
    for await (const _ of s3.list(bucket, "out/part-")) count++;
    return count;
  };
  while ((await parts()) < 3);
  await redis.kill();
  const ended = await first.ended;
  assert.equal(ended.code, 1, ended.stderr);
  assert.match(ended.stderr, /^labelmill: REDIS_UNREACHABLE: .*run the same command again[^\n]*\n$/m);
  const partsBefore = await parts();
  s3.close();
  assert.ok(partsBefore < 40, "Redis was killed in the middle of the run");
  await redis.restart();
  // The worker registers again within ten seconds. Until then, no worker is known to serve the model.
  const again = await work.expect(0, [...args, "--queue-anyway", "--json"], { env });
  assert.deepEqual((jsonOf(again).totals as { labeled: number }).labeled, 4_000);
  const proof = jsonOf(await work.expect(0, ["verify", out, "--json"], { env }));
  assert.deepEqual([proof.ok, (proof.totals as { parts: number }).parts], [true, 40]);
});
