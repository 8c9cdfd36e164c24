import assert from "node:assert/strict";
import { chmod, cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { assertPlain, type Ended, hasFile, jsonOf, Workspace } from "../../helpers/cli.ts";
import { MODELS } from "../../helpers/runs/pipeline.ts";

const UNPRIVILEGED = 65_534;

let work: Workspace;

before(async () => {
  work = await Workspace.open();
  await work.write("good.csv", "id,text\n1,fine\n");
  await work.write("columns.csv", "number,opinion,stars\n1,fine,3\n");
  await work.write("columns.jsonl", '{"number":1,"opinion":"fine"}\n');
  await work.write("empty.csv", "");
  await work.write("header.csv", "id,text\n");
  await work.write("nothing/readme.md", "no images here\n");
  await work.write("list.csv", "number,opinion\n1,fine\n");
  await work.write("folder.csv/inside.txt", "");
  await work.write("settings.json", '{"sliceItems": 0}');
  await cp(join(MODELS, "tiny-sentiment"), work.file("broken"), { recursive: true });
  await rm(work.file("broken", "tokenizer.json"));
});
after(() => work[Symbol.asyncDispose]());

function errorOf(ended: Ended): { code: string; message: string } {
  return jsonOf(ended).error as { code: string; message: string };
}

/** Name, arguments, expected error code and expected message. */
const REFUSED: [string, string[], string, RegExp][] = [
  ["no such file", ["label", "text", "none.csv"], "INPUT_NOT_FOUND", /none\.csv/],
  ["one of several is missing", ["label", "text", "good.csv", "none.csv"], "INPUT_NOT_FOUND", /none\.csv/],
  ["an empty file", ["label", "text", "empty.csv"], "INPUT_EMPTY", /empty\.csv/],
  ["only a header", ["label", "text", "header.csv"], "INPUT_EMPTY", /header\.csv.* no records/],
  ["empty standard input", ["label", "text", "-"], "INPUT_EMPTY", /standard input/],
  ["a folder without data", ["label", "text", "folder.csv"], "INPUT_EMPTY", /folder\.csv/],
  [
    "an unknown column",
    ["label", "text", "columns.csv", "--column", "opinon"],
    "COLUMN_NOT_FOUND",
    /"opinon": the columns are "number", "opinion", "stars"; did you mean "opinion"\?/,
  ],
  [
    "no column with a known name",
    ["label", "text", "columns.csv"],
    "COLUMN_NOT_FOUND",
    /"number", "opinion", "stars".*--column/,
  ],
  [
    "an unknown column to keep",
    ["label", "text", "columns.csv", "--column", "opinion", "--keep", "mood"],
    "COLUMN_NOT_FOUND",
    /"mood": the columns are "number", "opinion", "stars"/,
  ],
  [
    "an unknown id column in JSONL",
    ["label", "text", "columns.jsonl", "--column", "opinion", "--id-column", "key"],
    "COLUMN_NOT_FOUND",
    /"key": the columns are "number", "opinion"/,
  ],
  ["no such image", ["label", "images", "none.png"], "INPUT_NOT_FOUND", /none\.png/],
  ["a pattern without a match", ["label", "images", "nothing/*.png"], "INPUT_NOT_FOUND", /nothing\/\*\.png/],
  ["a folder without images", ["label", "images", "nothing"], "INPUT_EMPTY", /nothing/],
  ["a list without such a column", ["label", "images", "list.csv"], "COLUMN_NOT_FOUND", /"number", "opinion"/],
  ["no such model", ["label", "text", "good.csv", "--model", "none"], "MODEL_NOT_FOUND", /none/],
  ["a model of the other kind", ["label", "text", "good.csv", "--model", "tiny-image"], "MODEL_INVALID", /tiny-image/],
  [
    "a model without its tokenizer",
    ["label", "text", "good.csv", "--model", "broken"],
    "MODEL_INVALID",
    /tokenizer\.json/,
  ],
  [
    "a setting out of bounds",
    ["label", "text", "good.csv", "--slice-items", "0"],
    "CONFIG_INVALID",
    /--slice-items.*got "0"/,
  ],
  [
    "a bad settings file",
    ["label", "text", "good.csv", "--config", "settings.json"],
    "CONFIG_INVALID",
    /settings\.json: sliceItems/,
  ],
  ["a bad number", ["label", "text", "good.csv", "--top-k", "0"], "USAGE", /--top-k.*from 1 to 1000/],
  ["an unknown option", ["label", "text", "good.csv", "--modle", "x"], "USAGE", /--modle.*--model/s],
  ["no file at all", ["label", "text"], "USAGE", /missing required argument/],
];

describe("wrong usage or input gives exit 2 and one JSON value with the error, and makes no output", {
  concurrency: 2,
}, () => {
  for (const [name, args, code, expected] of REFUSED)
    test(name, async () => {
      const error = errorOf(await work.expect(2, [...args, "--json"]));
      assert.equal(error.code, code, error.message);
      assert.match(error.message, expected);
      assert.ok(!(await hasFile(work.path, /-labels$/)), "no output was made");
    });
});

test("a file without read permission is INPUT_UNREADABLE", async (t) => {
  const args = ["label", "text", "secret.csv", "--json"];
  if (process.getuid?.() !== 0) {
    await chmod(await work.write("secret.csv", "text\nfine\n"), 0o000);
    assert.equal(errorOf(await work.expect(2, args)).code, "INPUT_UNREADABLE");
    return;
  }
  // Root may read everything, so an unprivileged user runs the command, in a folder that this user may read.
  const open = await mkdtemp("/tmp/lm-");
  try {
    await chmod(open, 0o755);
    await writeFile(join(open, "secret.csv"), "text\nfine\n", { mode: 0o600 });
    const as = { uid: UNPRIVILEGED, gid: UNPRIVILEGED, cwd: open };
    if ((await work.run(["--version"], as)).code !== 0) return t.skip("only root can read this checkout");
    const { code, message } = errorOf(await work.expect(2, args, as));
    assert.deepEqual([code, /secret\.csv.*EACCES/.test(message)], ["INPUT_UNREADABLE", true], message);
    assert.deepEqual(await readdir(open), ["secret.csv"]);
  } finally {
    await rm(open, { recursive: true });
  }
});

test("without --json, an error is one line on standard error, and standard output is empty", async () => {
  const { stdout, stderr } = await work.expect(2, ["label", "text", "none.csv", "--model", "tiny-sentiment"]);
  assert.equal(stdout, "");
  assert.equal(stderr, 'labelmill: INPUT_NOT_FOUND: no such file or folder: "none.csv"\n');
});

test("an unreachable or missing Redis is one error with its address and a fix, without the password", async () => {
  const url = "redis://someone:hunter2@127.0.0.1:1/0";
  const to = (out: string) => ["label", "text", "good.csv", "--model", "tiny-sentiment", "--out", out];
  const [plain, json, missing] = await Promise.all([
    work.expect(1, to("plain"), { env: { REDIS_URL: url } }),
    work.expect(1, [...to("json"), "--redis-url", url, "--json"]),
    work.expect(1, [...to("missing"), "--json"], {
      env: { PATH: "/nowhere", LABELMILL_CACHE_DIR: work.file("no-cache") },
    }),
  ]);
  const last = plain.stderr.trimEnd().split("\n").at(-1)!;
  assert.match(
    last,
    /^labelmill: REDIS_UNREACHABLE: Redis at redis:\/\/someone:\*\*\*@127\.0\.0\.1:1\/0 .*refused.*REDIS_URL/,
  );
  assert.equal(errorOf(json).code, "REDIS_UNREACHABLE");
  assert.doesNotMatch([plain.stdout, plain.stderr, json.stdout, json.stderr].join(), /hunter2/);
  assert.equal(errorOf(missing).code, "REDIS_MISSING");
  for (const fix of [/REDIS_URL/, /PATH/, /Docker/, /Debian/]) assert.match(errorOf(missing).message, fix);
  await work.expect(0, to("plain"));
});

const UNKNOWN: [string[], string, string?][] = [
  [["polish"], "polish"],
  [["polish", "--help"], "polish"],
  [["help", "statsu"], "statsu", "status"],
  [["statsu", "-h"], "statsu", "status"],
  [["run", "foo", "--help"], "foo"],
  [["run", "lst", "--help"], "lst", "list"],
  [["help", "run", "lst"], "lst", "list"],
  [["run", "help", "lst"], "lst", "list"],
  [["label", "txt", "--help"], "txt", "text"],
  [["models", "foo", "--help"], "foo"],
  [["models", "pul"], "pul", "pull"],
];
for (const [args, name, nearest] of UNKNOWN)
  test(`${args.join(" ")} is an unknown command`, async () => {
    const { stdout, stderr } = await work.expect(2, args);
    const hint = nearest === undefined ? "" : `(Did you mean ${nearest}?)\n`;
    assert.deepEqual([stdout, stderr], ["", `error: unknown command '${name}'\n${hint}`]);
  });

for (const format of ["parquet", "jsonl"])
  for (const args of [["good.csv"], ["-"]])
    test(`the error of --format ${format} for the input ${args} suggests --output-format`, async () => {
      const ended = await work.expect(2, ["label", "text", ...args, "--format", format, "--json"], { input: "fine\n" });
      const { code, message } = errorOf(ended);
      assert.equal(code, "INPUT_UNREADABLE");
      assert.match(message, new RegExp(`; --format names the input's format; .* use --output-format ${format}`));
    });

test("the error of a format that outputs do not have suggests nothing", async () => {
  const { message } = errorOf(await work.expect(2, ["label", "text", "good.csv", "--format", "arrow", "--json"]));
  assert.doesNotMatch(message, /--output-format/);
});

test("--help shows examples and exit codes, and --version shows the version", async () => {
  const commands = [[], ["label", "text"], ["label", "images"], ["verify"]];
  for (const { stdout } of await Promise.all(commands.map((args) => work.expect(0, [...args, "--help"])))) {
    assert.match(stdout, /^Usage: labelmill/);
    assert.match(stdout, /Examples?:\n {2}(labelmill|printf|zcat) /);
    assert.match(stdout, /Exit codes: 0 /);
    assertPlain(stdout);
  }
  assert.match((await work.expect(0, ["--version"])).stdout, /^\d+\.\d+\.\d+\n$/);
  assert.match((await work.expect(2, [])).stderr, /Usage: labelmill/);
});
