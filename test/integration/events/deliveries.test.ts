import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import type { WebhookEvent } from "../../../src/schemas/enrichment/delivery.ts";
import { SidecarSchema } from "../../../src/schemas/enrichment/sidecar.ts";
import { parseEvent } from "../../../src/schemas/event.ts";
import { RESULTS_QUEUE, singleKey } from "../../../src/schemas/names.ts";
import { RowSchema } from "../../../src/schemas/row.ts";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { UploadBucket } from "../../helpers/inputs/uploads.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { verified, WebhookReceiver } from "../../helpers/servers/webhook-receiver.ts";

const PATH = "/v1/events/s3";
const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

test("an upload gets its label beside it, in its tags, by webhook and on the results queue", {
  timeout: 60_000,
}, async (t) => {
  if (!server.conditionalWrites) return t.skip("the S3 server ignores conditions");
  const bucket = await UploadBucket.make(server.endpoint);
  await using receiver = await WebhookReceiver.start();
  const secret = newWebhookSecret();
  const results = [{ to: "sidecar" }, { to: "tags" }, { to: "webhook", endpoint: "crm" }];
  const match = { bucket: bucket.name };
  const rules = [
    { name: "photos", match: { ...match, suffix: ".png" }, kind: "image", model: "tiny-image", results },
    { name: "texts", match: { ...match, suffix: ".txt" }, kind: "text", model: "tiny-sentiment", results },
  ];
  const models = ["tiny-sentiment", "tiny-image"];
  await using api = await TestApi.open({
    ...{ models, s3: server.settings, worker: false, settings: { allowPrivate: true } },
    file: { rules, webhooks: [{ name: "crm", url: receiver.url, secrets: [secret] }] },
  });
  const { pipeline } = api;
  const roots = { files: [], s3: [`s3://${bucket.name}/`], outputs: [`s3://${bucket.name}/`, pipeline.folder] };
  await pipeline.worker(
    { outputRoots: [`s3://${bucket.name}/`, pipeline.folder] },
    { models, s3: server.settings, roots },
  );
  const queue = openQueue(await pipeline.connection(), RESULTS_QUEUE);
  pipeline.defer(() => queue.close());

  /** Uploads an object, and checks all places that have its label. @returns the label */
  const label = async (key: string, body: string | Uint8Array, count: number) => {
    const upload = await bucket.put(key, body);
    assert.deepEqual(await (await api.post(PATH, bucket.notification(upload))).json(), { accepted: 1, ignored: {} });
    const received = (await receiver.until(count))[count - 1]!;
    const { type, data } = verified(received, secret) as WebhookEvent;
    assert.deepEqual([type, data.state, data.rows, data.errors], ["run.ended", "succeeded", 1, 0]);
    const row = RowSchema.parse(
      JSON.parse(await readFile(join(pipeline.folder, "output", singleKey(data.run)), "utf8")),
    );
    assert.ok("label" in row);
    const sidecar = SidecarSchema.parse(JSON.parse(await bucket.text(`${key}.labels.json`)));
    assert.deepEqual([sidecar.label, sidecar.run], [row.label, data.run]);
    assert.deepEqual(sidecar.object, { etag: upload.etag, sequencer: upload.sequencer });
    const tags = await bucket.tags(key);
    assert.equal(tags["labelmill-label"], row.label.replaceAll(/[^\p{L}\p{N} +\-=._:/@]/gu, "_"));
    assert.ok(Math.abs(Number(tags["labelmill-score"]) - row.score) < 0.01);
    const events = (await queue.getWaiting()).map((job) => parseEvent(JSON.stringify(job.data)));
    assert.ok(events.some((event) => event?.run === data.run));
    // The event of our own sidecar labels nothing.
    const own = bucket.notification({ ...upload, key: `${key}.labels.json` });
    assert.deepEqual(await (await api.post(PATH, own)).json(), { accepted: 0, ignored: { "own-output": 1 } });
    return row.label;
  };
  assert.equal(await label("reviews/one.txt", "it was great", 1), "POSITIVE");
  assert.equal(await label("reviews/one.txt", "it was awful", 2), "NEGATIVE");
  await label("photos/one two.png", await readFile(new URL("../../fixtures/images/small.png", import.meta.url)), 3);
  assert.equal(receiver.received.length, 3);
  bucket.close();
});
