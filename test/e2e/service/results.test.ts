import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { EventSchema, type LabelEvent } from "../../../src/schemas/event.ts";
import { RESULTS_QUEUE } from "../../../src/schemas/names.ts";
import { ResultEvents } from "../../../src/workers/result-events.ts";
import { jsonOf, type RunningCommand, Workspace } from "../../helpers/cli.ts";
import { TestPipeline, writeTexts } from "../../helpers/runs/pipeline.ts";

const EXAMPLES = fileURLToPath(new URL("../../../examples/", import.meta.url));
const SLICES = 30;

/** Waits until a command has printed `count` lines, and returns all lines. */
async function lines(command: RunningCommand, count: number): Promise<string[]> {
  await command.prints((text) => text.split("\n").length > count);
  return command.stdout.trimEnd().split("\n");
}

test("results --follow shows every event, and takes none from a consumer", async () => {
  await using pipeline = await TestPipeline.open();
  await using work = await Workspace.open();
  const env = { REDIS_URL: pipeline.redis.url };
  await pipeline.spawnWorker({ model: "tiny-sentiment" });
  const follower = work.start(["results", "--follow", "--json"], { env });
  const consumer = work.start(["--conditions", "labelmill-source", `${EXAMPLES}consume-results.ts`], {
    env,
    script: "",
  });
  const path = await writeTexts(work.file("texts.csv"), SLICES * 10);
  const input = { kind: "text", path, model: "tiny-sentiment", out: "out" } as const;
  // Submits singles until both listen.
  const producer = await pipeline.producer();
  for (let both = false; !both; both = follower.stdout !== "" && consumer.stdout !== "")
    await (await producer.submit({ model: "tiny-sentiment", texts: ["good"], events: "rows" })).wait();
  const before = { follower: follower.stdout.length, consumer: consumer.stdout.length };
  const { runFile } = await pipeline.run(input, { sliceItems: 10, events: "rows" });
  const ids = Array.from({ length: SLICES }, (_, i) => `${runFile.run}-${String(i).padStart(7, "0")}`);
  await follower.prints((text) => ids.every((id) => text.includes(id)));
  await consumer.prints((text) => ids.every((id) => text.includes(id)));
  const linesOf = (text: string) => text.trimEnd().split("\n");
  const followed: LabelEvent[] = linesOf(follower.stdout.slice(before.follower))
    .map((line) => EventSchema.parse(JSON.parse(line)))
    .filter(({ run }) => run === runFile.run);
  assert.deepEqual(followed.map(({ id }) => id).sort(), ids);
  assert.ok(followed.every(({ items }) => items?.length === 10));
  const consumed = linesOf(consumer.stdout.slice(before.consumer)).filter((line) => line.startsWith(runFile.run));
  assert.deepEqual(consumed.map((line) => line.split(" ")[0]).sort(), ids, "each event once");
  follower.child.kill("SIGINT");
  assert.equal((await follower.ended).code, 130);
  consumer.child.kill("SIGTERM");
  assert.equal((await consumer.ended).code, 0, consumer.stderr);
  const redis = await pipeline.connection();
  assert.equal(await redis.llen(`{labelmill}:${RESULTS_QUEUE}:wait`), 0);
});

test("the examples of images and of events work as documented", async () => {
  await using pipeline = await TestPipeline.open();
  await using work = await Workspace.open();
  const env = { REDIS_URL: pipeline.redis.url, OUTPUT: pipeline.output("labels") };
  const images = join(EXAMPLES, "images");
  const roots = { files: [pipeline.folder, images], s3: [] };
  await pipeline.worker({ threads: 1 }, { models: ["tiny-image"], roots });
  const example = (name: string) => ["--conditions", "labelmill-source", `${EXAMPLES}${name}`];
  const listener = work.start(example("subscribe.ts"), { env, script: "" });
  await listener.prints((text) => text.startsWith("listening\n"));
  const pictures = ["cat-ginger-tabby.jpg", "gone.jpg"].map((name) => pathToFileURL(join(images, name)).href);
  const { stdout } = await work.expect(0, [...example("submit-images.ts"), ...pictures], { env, script: "" });
  assert.match(stdout, /^#0 cat 0\.\d{3}, \w+ 0\.\d{3}, \w+ 0\.\d{3}\n#1 IMAGE_NOT_FOUND .*\n$/);
  await listener.prints((text) => /^[0-9a-f]{16}-0000000 2 rows in file:.*single-/m.test(text));
  listener.child.kill("SIGTERM");
  assert.equal((await listener.ended).code, 0);
});

test("the library example prints labels, and the consumer example handles a repeated event once", async () => {
  await using pipeline = await TestPipeline.open();
  await using work = await Workspace.open();
  const env = { REDIS_URL: pipeline.redis.url, OUTPUT: pipeline.output("labels") };
  await pipeline.worker({ threads: 1 });
  const args = [
    "--conditions",
    "labelmill-source",
    `${EXAMPLES}submit.ts`,
    "Great value, wonderful",
    "Terrible, broke at once",
  ];
  const { stdout } = await work.expect(0, args, { env, script: "" });
  const event = EventSchema.parse(JSON.parse((await work.expect(0, ["results", "--json"], { env })).stdout));
  assert.match(
    stdout,
    /^argument-1 POSITIVE 0\.\d{3} .*\nargument-2 NEGATIVE 0\.\d{3} .*\nsucceeded, 0 in error, rows in file:/,
  );
  const consumer = work.start(["--conditions", "labelmill-source", `${EXAMPLES}consume-results.ts`], {
    env,
    script: "",
  });
  const [first] = await lines(consumer, 1);
  const id = first!.split(" ")[0]!;
  const waiting = await work.expect(0, ["results", "--json"], { env });
  assert.equal(waiting.stdout, "", "the event was consumed");
  // The same event again, as a retried job publishes it, and then another one.
  const events = new ResultEvents(await pipeline.connection(), 100);
  await events.publish(event);
  await events.close();
  const run = await (await pipeline.producer()).submit({ model: "tiny-sentiment", texts: ["good"] });
  await run.wait();
  await lines(consumer, 2);
  assert.equal(consumer.stdout.split(id).length - 1, 1);
  consumer.child.kill("SIGTERM");
  await consumer.ended;
  const found = jsonOf(await work.expect(0, ["status", "--json"], { env })) as { events: { waiting: number } };
  assert.equal(found.events.waiting, 0);
});
