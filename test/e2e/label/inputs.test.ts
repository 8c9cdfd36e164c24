import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { jsonOf, Workspace } from "../../helpers/cli.ts";
import { fixture } from "../../helpers/inputs/images.ts";
import { tarOf } from "../../helpers/inputs/tar.ts";
import { TcpRedis } from "../../helpers/servers/tcp-redis.ts";

const TEXT = ["label", "text", "--model", "tiny-sentiment"];

let work: Workspace;
before(async () => {
  work = await Workspace.open();
});
after(() => work[Symbol.asyncDispose]());

const PASSED_OVER = {
  count: 3,
  reasons: [
    { reason: "hidden", count: 1, names: ["mixed/_tmp/x.csv"] },
    { reason: "empty", count: 1, names: ["mixed/none.csv"] },
    { reason: "image-among-texts", count: 1, names: ["mixed/cat.jpg"] },
  ],
};

async function writeMixed(): Promise<void> {
  await work.write("mixed/a.csv", "text\ngood\n");
  await work.write("mixed/b.csv", "text\nbad\n");
  await work.write("mixed/none.csv", "");
  await work.write("mixed/cat.jpg", "x");
  await work.write("mixed/_tmp/x.csv", "text\nx\n");
}

test("files passed over are reported at the start and the end, in the manifest and in JSON", async () => {
  await writeMixed();
  const { stdout, stderr } = await work.expect(0, [...TEXT, "mixed", "--out", "shown"]);
  for (const text of [stdout, stderr]) {
    assert.match(text, /^Skipped: 3 files$/m);
    assert.match(text, /^ {2}1 empty: mixed\/none\.csv$/m);
  }
  assert.deepEqual((await work.manifest("shown")).passedOver, PASSED_OVER);
  // A finished run reports the files of its own time.
  await work.write("mixed/later.jpg", "x");
  const again = jsonOf(await work.expect(0, [...TEXT, "mixed", "--out", "shown", "--json"]));
  assert.deepEqual(again.passedOver, PASSED_OVER);
  const none = jsonOf(await work.expect(0, [...TEXT, "mixed/a.csv", "--out", "one", "--json"]));
  assert.deepEqual(none.passedOver, { count: 0, reasons: [] });
});

test("a run that a worker plans reports the files that its submission passed over, also after a loss of Redis", async () => {
  await using redis = await TcpRedis.start();
  const env = { REDIS_URL: redis.url };
  await writeMixed();
  const submit = ["run", "submit", "--kind", "text", "mixed", "--model", "tiny-sentiment", "--out", "planned"];
  const flags = ["--shared-files", "--queue-anyway", "--json"];
  const submitted = jsonOf(await work.expect(0, [...submit, ...flags], { env }));
  const { count } = submitted.passedOver as { count: number };
  assert.deepEqual((await work.runFile("planned")).passedOver, submitted.passedOver);
  await redis.restart();
  await work.expect(0, [...submit, ...flags], { env });
  const worker = work.start(["worker", "--models", "tiny-sentiment"], {
    env: { ...env, LABELMILL_FILE_ROOTS: work.path, LABELMILL_THREADS: "1" },
  });
  await worker.says("Serving");
  const watched = jsonOf(await work.expect(0, ["run", "watch", submitted.run as string, "--json"], { env }));
  assert.deepEqual(watched.passedOver, submitted.passedOver);
  assert.deepEqual((await work.manifest("planned")).passedOver, submitted.passedOver);
  assert.ok(count >= 3);
  worker.child.kill("SIGTERM");
  assert.equal((await worker.ended).code, 0);
});

test("ids are unique in a run, and independent of other inputs unless two arguments give the same ids", async () => {
  await work.write("tree/a/part.csv", "text\ngood\nbad\n");
  await work.write("tree/b/part.csv", "text\nfine\n");
  await work.write("tree/c/part.csv.gz", gzipSync("text\nfine\n"));
  const ids = async (out: string, ...inputs: string[]) => {
    await work.expect(0, [...TEXT, ...inputs, "--out", out]);
    await work.expect(0, ["verify", out]);
    return (await work.rows(out)).map(({ id }) => id);
  };
  const below = ["a/part.csv#0", "a/part.csv#1", "b/part.csv#0", "c/part.csv.gz#0"];
  assert.deepEqual(await ids("tree-ids", "tree"), below);
  assert.deepEqual(await ids("alone-ids", "tree/a/part.csv"), ["part.csv#0", "part.csv#1"]);
  const uri = (name: string) => pathToFileURL(work.file(name)).href;
  assert.deepEqual(await ids("both-ids", "tree/a/part.csv", "tree/b/part.csv"), [
    `${uri("tree/a/part.csv")}#0`,
    `${uri("tree/a/part.csv")}#1`,
    `${uri("tree/b/part.csv")}#0`,
  ]);

  // A run of an older version keeps the ids that it began with.
  const { inputs, ...runFile } = await work.runFile("tree-ids");
  assert.equal(inputs[0]!.idName, "a/part.csv");
  const before = inputs.map(({ idName: _, ...input }) => input);
  await rm(work.file("tree-ids"), { recursive: true });
  await work.write("tree-ids/_run.json", JSON.stringify({ ...runFile, inputs: before }));
  assert.deepEqual(await ids("tree-ids", "tree"), ["part.csv#0", "part.csv#1", "part.csv#0", "part.csv.gz#0"]);
});

test("archives of a pattern have unique ids and report files passed over, and a run of an older version is refused", async () => {
  const picture = await fixture("small.png");
  const shard = (names: string[]) => tarOf(names.map((name) => ({ name, content: picture })));
  await work.write("shards/0.tar", shard(["1.png", "22.05.png", "22.06.png", "1.json"]));
  await work.write("shards/1.tar", shard(["1.png", "._1.png", "2.heic"]));
  const args = ["label", "images", "--model", "tiny-image", "--out", "shard-ids"];
  const result = jsonOf(await work.expect(0, [...args, "shards/*.tar", "--json"]));
  assert.deepEqual(result.passedOver, {
    count: 3,
    reasons: [
      { reason: "hidden", count: 1, names: ["1.tar:._1.png"] },
      { reason: "not-an-image", count: 1, names: ["0.tar:1.json"] },
      { reason: "image-not-decodable", count: 1, names: ["1.tar:2.heic"] },
    ],
  });
  assert.deepEqual(
    (await work.rows("shard-ids")).map(({ id }) => id),
    ["0.tar#1", "0.tar#22.05.png", "0.tar#22.06.png", "1.tar#1"],
  );
  await work.expect(0, ["verify", "shard-ids", "--inputs"]);
  const { inputs, ...runFile } = await work.runFile("shard-ids");
  const before = inputs.map(({ members: _, ...input }) => input);
  await rm(work.file("shard-ids", "_SUCCESS"));
  await work.write("shard-ids/_run.json", JSON.stringify({ ...runFile, inputs: before }));
  const { stderr } = await work.expect(2, [...args, "shards/*.tar"]);
  assert.match(stderr, /SPEC_DIFFERS[\s\S]*0\.tar\.members: none then, "images" now/);
});
