import assert from "node:assert/strict";
import { mkdir, readdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, test } from "node:test";
import { builtInNames, openCatalog, parseCatalog } from "../../../src/models/catalog.ts";
import { putEntries } from "../../../src/models/catalog-file.ts";
import { MODELS, temporaryFolder } from "../../helpers/runs/pipeline.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const SHA = "a".repeat(64);
const FILES = [{ path: "config.json", size: 2, sha256: SHA }];
const TEXT = { id: "mine", task: "text-classification", repo: "me/mine" };

test("the shipped catalog has the three models of the hub and the built-in ones, and pins only known files", async () => {
  await using folder = await temporaryFolder();
  const catalog = await openCatalog(join(folder.path, "none.json"), false);
  assert.deepEqual(
    [...catalog.entries.keys()],
    ["distilbert-sst2", "siebert-sentiment", "resnet50", "tiny-sentiment", "tiny-image"],
  );
  assert.deepEqual(catalog.defaults, {
    "text-classification": "distilbert-sst2",
    "image-classification": "resnet50",
  });
  assert.equal(builtInNames(catalog), "tiny-sentiment, tiny-image");
  assert.equal(catalog.entries.get("tiny-image")!.folder, join(MODELS, "tiny-image"));
  for (const { id, pins, revision } of catalog.entries.values())
    assert.deepEqual([pins, revision], [undefined, undefined], id);
});

test("the user's catalog replaces entries by id, adds others, and may set the defaults", async () => {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "catalog.json");
  const pinned = { ...TEXT, id: "distilbert-sst2", pins: { fp32: { commit: COMMIT, files: FILES } } };
  const own = { id: "own", task: "image-classification", folder: "models/own" };
  const defaults = { "image-classification": "own" };
  await writeFile(file, JSON.stringify({ schemaVersion: 1, defaults, models: [pinned, own] }));
  const { entries, defaults: chosen } = await openCatalog(file, true);
  assert.deepEqual(entries.get("distilbert-sst2"), { ...pinned, builtIn: false });
  assert.equal(entries.get("own")!.folder, join(folder.path, "models/own"), "relative to the catalog");
  assert.deepEqual(chosen, { "text-classification": "distilbert-sst2", "image-classification": "own" });
  assert.ok(entries.has("resnet50"));
});

describe("an invalid catalog: the error has the file, the path in it and the reason", () => {
  const models = (...entries: object[]) => ({ schemaVersion: 1, models: entries });
  const CASES: [string, unknown, RegExp][] = [
    ["no object", [], /: Invalid input: expected object.*got \[\]$/],
    ["another version", { schemaVersion: 2, models: [] }, /: schemaVersion: .*expected 1, got 2$/],
    ["no models", { schemaVersion: 1 }, /: models: .*expected array/],
    ["an unknown key", { ...models(), defalts: {} }, /: Unrecognized key: "defalts"$/],
    [
      "an unknown key of an entry",
      models(TEXT, { ...TEXT, id: "b", rev: "x" }),
      /: models\[1\]: Unrecognized key: "rev"$/,
    ],
    [
      "two entries of one id",
      models(TEXT, { ...TEXT, id: "b" }, TEXT),
      /: models\[2\]\.id: .*models\[0\] has the same, got "mine"$/,
    ],
    ["an id that is a path", models({ ...TEXT, id: "../x" }), /: models\[0\]\.id: expected a name .*got "\.\.\/x"$/],
    [
      "an unknown task",
      models({ ...TEXT, task: "fill-mask" }),
      /: models\[0\]\.task: .*text-classification.*got "fill-mask"$/,
    ],
    [
      "a repository that is none",
      models({ ...TEXT, repo: "mine" }),
      /: models\[0\]\.repo: expected OWNER\/NAME, got "mine"$/,
    ],
    ["a revision upwards", models({ ...TEXT, revision: "../x" }), /: models\[0\]\.revision: expected a branch/],
    [
      "neither place",
      models({ id: "x", task: TEXT.task }),
      /: models\[0\]: expected exactly one of repo, folder and export/,
    ],
    ["two places", models({ ...TEXT, folder: "x" }), /: models\[0\]: expected exactly one of repo, folder and export/],
    [
      "a folder's revision",
      models({ id: "x", task: TEXT.task, folder: "x", revision: "main" }),
      /: models\[0\]\.revision: .*beside repo/,
    ],
    [
      "pins of an unknown dtype",
      models({ ...TEXT, pins: { int4: {} } }),
      /: models\[0\]\.pins: Unrecognized key: "int4"$/,
    ],
    [
      "pins without a commit",
      models({ ...TEXT, pins: { q8: { files: FILES } } }),
      /: models\[0\]\.pins\.q8\.commit: expected a commit.*got nothing$/,
    ],
    [
      "a folder's commit",
      models({ id: "x", task: TEXT.task, folder: "x", pins: { q8: { commit: COMMIT, files: FILES } } }),
      /\.pins\.q8\.commit: .*beside repo/,
    ],
    [
      "a hash that is none",
      models({ ...TEXT, pins: { fp32: { commit: COMMIT, files: [{ ...FILES[0], sha256: "abc" }] } } }),
      /: models\[0\]\.pins\.fp32\.files\[0\]\.sha256: expected a SHA-256.*got "abc"$/,
    ],
    [
      "a file outside",
      models({ ...TEXT, pins: { fp32: { commit: COMMIT, files: [{ ...FILES[0], path: "../x" }] } } }),
      /\.files\[0\]\.path: expected a path within/,
    ],
  ];
  for (const [name, content, message] of CASES)
    it(name, () => {
      assert.throws(() => parseCatalog(content, "/c.json"), { code: "CONFIG_INVALID", message });
      assert.throws(() => parseCatalog(content, "/c.json"), /^LabelmillError: catalog \/c\.json: /);
    });

  it("invalid JSON, a default for another task, or a missing file that the user named", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "catalog.json");
    const refuses = (message: RegExp) => assert.rejects(openCatalog(file, true), { code: "CONFIG_INVALID", message });
    await refuses(/catalog\.json: expected this file, but it is missing.*models add/);
    await writeFile(file, '{"models": [');
    await refuses(/catalog\.json: expected JSON: /);
    await writeFile(file, JSON.stringify({ ...models(), defaults: { "text-classification": "resnet50" } }));
    await refuses(
      /catalog\.json: defaults\.text-classification: expected the id of a model for text-classification, got "resnet50"$/,
    );
  });
});

describe("putEntries", () => {
  it("makes the file and its folder, replaces by id and keeps the rest, through a link too", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "deep", "catalog.json");
    await putEntries(file, [TEXT as never]);
    const other = { ...TEXT, id: "other", about: "kept" };
    const defaults = { "text-classification": "other" };
    await writeFile(file, JSON.stringify({ schemaVersion: 1, defaults, models: [other, TEXT] }));
    const link = join(folder.path, "link.json");
    await symlink(file, link);
    await putEntries(link, [{ ...TEXT, revision: "v2" } as never]);
    assert.deepEqual(JSON.parse(await readFile(file, "utf8")), {
      schemaVersion: 1,
      defaults,
      models: [other, { ...TEXT, revision: "v2" }],
    });
    assert.equal(await readlink(link), file);
    assert.deepEqual(await readdir(join(folder.path, "deep")), ["catalog.json"], "nothing is left aside");
  });

  it("leaves a file that does not parse as it is", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "catalog.json");
    await mkdir(folder.path, { recursive: true });
    await writeFile(file, "{");
    await assert.rejects(putEntries(file, [TEXT as never]), { code: "CONFIG_INVALID" });
    assert.equal(await readFile(file, "utf8"), "{");
  });
});
