import assert from "node:assert/strict";
import { after, test } from "node:test";
import { verifyOutput } from "../../../src/outputs/verify/verify.ts";
import { S3 } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import { Workspace } from "../../helpers/cli.ts";
import { FaultProxy } from "../../helpers/servers/fault-proxy.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";

const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

test("labelmill label with its own worker waits for S3, reports this once, and succeeds", async () => {
  await using proxy = await FaultProxy.start(server.endpoint);
  await using workspace = await Workspace.open();
  const bucket = await server.makeBucket();
  const s3 = new S3(server.settings);
  const inputs = await S3Store.open(s3, `s3://${bucket}/in/`);
  const rows = Array.from({ length: 100 }, (_, i) => `${JSON.stringify({ text: `good ${i}` })}\n`);
  await inputs.put("rows.jsonl", Buffer.from(rows.join("")));
  proxy.next("slow-down", 1_000_000, { method: "PUT", path: /part-|probe\.0000000000000001/ });
  const out = `s3://${bucket}/out/`;
  const running = workspace.start(
    ["label", "text", `${inputs.uri}rows.jsonl`, "--out", out, "--model", "tiny-sentiment", "--slice-items", "20"],
    { env: { ...server.env, LABELMILL_S3_ENDPOINT: proxy.endpoint, LABELMILL_BACKOFF_MS: "100" } },
  );
  await running.says("became unavailable at");
  proxy.clear();
  const { code, stderr } = await running.ended;
  assert.equal(code, 0, stderr);
  assert.equal(
    stderr.match(/store s3:\/\/\S+ became unavailable at \d\d:\d\d:\d\d: could not write .*next try in /g)?.length,
    1,
  );
  assert.equal(stderr.match(/is back after/g)?.length, 1);
  const { ok, totals } = await verifyOutput(await S3Store.open(s3, out));
  s3.close();
  assert.deepEqual([ok, totals.labeled], [true, 100]);
});
