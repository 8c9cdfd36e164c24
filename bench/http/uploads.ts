import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import sharp from "sharp";
import { KEEP_COMING_MS } from "../../src/inference/interactive-flow.ts";
import { openRedis } from "../../src/redis/connect.ts";
import { RunLedger } from "../../src/runs/ledger/ledger.ts";
import { S3 } from "../../src/storage/s3/s3.ts";
import { copyPictures, shortTexts } from "../inputs/inputs.ts";
import type { BenchOptions } from "../options.ts";
import { CalledProcess } from "../processes/calls.ts";
import type { S3Place } from "../processes/own-service.ts";
import type { ProducerCalls } from "../processes/producer-process.ts";
import { measure, ratio, unmarked } from "../report/measure.ts";
import { MARGIN, percentile, rateOf, shown, summarize } from "../report/rounds.ts";
import type { Section } from "../report/section.ts";
import { number } from "../report/table.ts";
import { during } from "../service/beside-bulk.ts";
import { untilSettled } from "../sides/pipeline-side.ts";
import type { ServeCalls } from "./serve-process.ts";

const [TEXTS, IMAGES] = ["tiny-sentiment", "tiny-image"];
const UPLOADS = 1_000;
const UPLOADS_PER_SECOND = 20;
const PICTURE_BYTES = 100_000;
/** Between two looks for a sidecar. */
const LOOK_MS = 20;
const SLICE_ITEMS = 250;

/** Pictures that are uploaded during a run: from the event until the labels are beside the picture. */
export async function measureUploads(
  folder: string,
  place: S3Place,
  { seconds, quick }: BenchOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Section> {
  await mkdir(folder);
  const maker = await shortTexts(folder);
  await using open = new AsyncDisposableStack();
  const s3 = open.adopt(new S3(place.settings), (each) => each.close());
  const serve = open.use(new CalledProcess<ServeCalls>(new URL("./serve-process.ts", import.meta.url), signal));
  const uploads = { s3: place.settings, bucket: place.bucket, model: IMAGES! };
  const places = { cacheDir: folder, out: join(folder, "out"), state: join(folder, "state") };
  const { url, redis } = await serve.call("start", { model: TEXTS!, ...places, uploads, tcp: true });
  const producer = open.use(
    new CalledProcess<ProducerCalls>(new URL("../processes/producer-process.ts", import.meta.url), signal),
  );
  await producer.call("start", { redis: redis!, model: TEXTS!, s3: place.settings });
  const bulk = {
    output: `${pathToFileURL(folder)}/`,
    settings: { sliceItems: SLICE_ITEMS, windowSlices: 10_000 },
    splits: true,
  };

  say("uploads: warm-up");
  let rate = 100;
  await untilSettled(quick, async () => {
    const { path } = await maker.make(Math.ceil(rate * seconds));
    rate = rateOf(await producer.call("label", { ...bulk, input: path }));
    return serve.call("settled", {});
  });
  const picture = await pictureOf(join(folder, "pictures"));
  const upload = (key: string) => labelUpload({ s3, bucket: place.bucket, url, key, picture }, signal);
  for (let warm = 0; warm < 20; warm++) await upload(`warm/${warm}.jpg`);
  const count = quick ? UPLOADS / 20 : UPLOADS;
  const besideSeconds = count / UPLOADS_PER_SECOND + seconds + KEEP_COMING_MS / 1000;
  const big = await maker.make(Math.ceil(rate * besideSeconds * MARGIN * 4));
  const { run } = await producer.call("queue", { ...bulk, input: big.path });
  const connection = await openRedis({ url: redis! }, "producer");
  open.defer(() => connection.disconnect());
  const ledger = new RunLedger(connection);
  await setTimeout(KEEP_COMING_MS);
  const alone = await during(ledger, run, () => setTimeout(seconds * 1000));
  const beside = await during(ledger, run, () => paced(count, (at) => upload(`new/${at}.jpg`)));
  const [p50, p99] = [0.5, 0.99].map((share) => Math.round(percentile(beside.result, share)));
  say(`uploads: ${shown(alone)} rows/s alone, ${shown(beside)} beside uploads, p50 ${p50} ms, p99 ${p99} ms`);
  const rates = [
    measure("the run alone, rows/s", summarize([rateOf(alone)]), "uploads.alone"),
    measure("beside uploads, rows/s", summarize([rateOf(beside)]), "uploads.beside"),
  ];
  return {
    title: "Uploads during a run",
    about: [
      `${number(count)} pictures of about ${number(picture.length)} bytes in a bucket, ${UPLOADS_PER_SECOND} a second, with a rule for ${IMAGES}: the milliseconds from the event`,
      `(\`POST /v1/events/s3\`) until \`KEY.labels.json\` is found beside the picture, which is looked up every ${LOOK_MS} ms. Meanwhile a run of ${TEXTS} on`,
      "the same worker, in the process of the server. One round.",
    ],
    measures: [
      unmarked("from the event to the sidecar, p50, ms", summarize([p50!]), "upload_ms.p50"),
      unmarked("from the event to the sidecar, p99, ms", summarize([p99!]), "upload_ms.p99"),
      ...rates,
      ratio(
        "the run with uploads beside it ÷ alone",
        summarize([rateOf(beside) / rateOf(alone)]),
        rates,
        "bulk_beside_uploads_vs_alone",
      ),
    ],
    details: [],
  };
}

type Upload = { s3: S3; bucket: string; url: string; key: string; picture: Buffer };

/** Uploads a picture, reports it, and waits for its sidecar. @returns milliseconds from the report */
async function labelUpload({ s3, bucket, url, key, picture }: Upload, signal: AbortSignal): Promise<number> {
  await s3.put({ bucket, key }, picture);
  const { etag } = await s3.head({ bucket, key });
  const object = { key, size: picture.length, eTag: etag };
  const record = { eventVersion: "2.1", eventName: "ObjectCreated:Put", s3: { bucket: { name: bucket }, object } };
  const startedAt = performance.now();
  const answer = await fetch(`${url}/v1/events/s3`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ Records: [record] }),
  });
  if (!answer.ok) throw new Error(`the event of ${key}: ${answer.status}: ${await answer.text()}`);
  await answer.arrayBuffer();
  const sidecar = { bucket, key: `${key}.labels.json` };
  while (
    !(await s3.head(sidecar).then(
      () => true,
      () => false,
    ))
  )
    await setTimeout(LOOK_MS, undefined, { signal });
  return performance.now() - startedAt;
}

/** Starts tasks at a constant rate, whether earlier ones are done or not. @returns their results */
async function paced<T>(count: number, task: (at: number) => Promise<T>): Promise<T[]> {
  const tasks: Promise<T>[] = [];
  const startedAt = performance.now();
  for (let at = 0; at < count; at++) {
    await setTimeout(Math.max(0, startedAt + (at * 1000) / UPLOADS_PER_SECOND - performance.now()));
    tasks.push(task(at));
  }
  return Promise.all(tasks);
}

/** A photograph as a JPEG of about PICTURE_BYTES. */
async function pictureOf(folder: string): Promise<Buffer> {
  const { files } = await copyPictures(folder);
  const photograph = await readFile(files[0]!);
  let best = photograph;
  for (let width = 200; width <= 2_000; width += 100) {
    const resized = await sharp(photograph).resize({ width }).jpeg({ quality: 90 }).toBuffer();
    if (Math.abs(resized.length - PICTURE_BYTES) < Math.abs(best.length - PICTURE_BYTES)) best = resized;
  }
  return best;
}
