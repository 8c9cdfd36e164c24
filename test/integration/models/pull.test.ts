import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { loadModel } from "../../../src/inference/model/model.ts";
import { findPulled } from "../../../src/models/hub/pull.ts";
import { LockSchema, type Pins } from "../../../src/models/lock-file.ts";
import {
  modelFolders,
  openHubPlace,
  sha256Of,
  TINY,
  TINY_DIR,
  TINY_FILES,
  TOTAL_BYTES,
  unfinished,
} from "../../helpers/servers/hub-place.ts";

const CONFIG = await readFile(join(TINY_DIR, "config.json"));

describe("pulling a model", { concurrency: 2 }, () => {
  for (const direct of [false, true])
    test(`writes the files, a lock and the revision's commit (small files ${direct ? "direct" : "redirected"})`, async () => {
      await using place = await openHubPlace({ direct });
      const { hub, modelsDir, pull } = place;
      const commit = hub.commitOf(TINY.repo);
      const { dir, lock } = await pull();

      assert.equal(dir, join(modelsDir, "tests--tiny-image", `${commit}-fp32`));
      const paths = (await readdir(dir, { recursive: true })).sort();
      assert.deepEqual(paths, [...TINY_FILES, "labelmill.lock.json", "onnx"].sort());
      for (const path of TINY_FILES)
        assert.deepEqual(await readFile(join(dir, path)), await readFile(join(TINY_DIR, path)), path);
      const files = await Promise.all(
        TINY_FILES.map(async (path) => {
          const full = join(TINY_DIR, path);
          return { path, size: (await stat(full)).size, sha256: await sha256Of(full) };
        }),
      );
      assert.deepEqual(lock, { schemaVersion: 1, ...TINY, commit, files });
      assert.deepEqual(LockSchema.parse(JSON.parse(await readFile(join(dir, "labelmill.lock.json"), "utf8"))), lock);
      assert.deepEqual((await readdir(join(modelsDir, "tests--tiny-image"))).sort(), [`${commit}-fp32`, "refs"]);
      assert.deepEqual(await findPulled(TINY, modelsDir), { dir, lock });
      await loadModel(dir);
    });

  test("the files after the first are requested by the commit; the bytes are sent once, large files in ranges", async () => {
    await using place = await openHubPlace();
    const { hub, pull } = place;
    const commit = hub.commitOf(TINY.repo);
    const progress: { doneBytes: number; totalBytes: number }[] = [];
    await pull({}, { limits: { rangeBytes: 100_000 }, onProgress: (each) => progress.push(each) });

    const resolved = hub.requests.filter(({ path }) => path.includes("/resolve/"));
    assert.equal(resolved.filter(({ path }) => path.includes("/resolve/main/")).length, 1);
    const rest = resolved.filter(({ path }) => !path.includes("/resolve/main/"));
    assert.ok(rest.every(({ path }) => path.includes(`/resolve/${commit}/`)));
    const ranges = hub.requests.filter(({ origin }) => origin === "cdn").map(({ headers }) => headers.range);
    const expected = [0, 1, 2, 3, 4, 5, 6, 7].map(
      (i) => `bytes=${i * 100_000}-${Math.min(i * 100_000 + 99_999, 704_489)}`,
    );
    assert.deepEqual(ranges.sort(), expected.sort());
    assert.equal(hub.takeSentBytes(), TOTAL_BYTES);
    assert.deepEqual(progress.at(0), { ...progress.at(0), doneBytes: 0, totalBytes: TOTAL_BYTES });
    assert.deepEqual(progress.at(-1), { ...progress.at(-1), doneBytes: TOTAL_BYTES, totalBytes: TOTAL_BYTES });
  });

  test("a second pull checks the hub and downloads nothing; a damaged file is detected by its content and replaced", async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir, pull } = place;
    const first = await pull();
    hub.takeSentBytes();
    assert.deepEqual(await pull(), first);
    assert.equal(hub.takeSentBytes(), 0);

    const onnx = join(first.dir, "onnx/model.onnx");
    const bytes = await readFile(onnx);
    bytes[1000]! ^= 1;
    await writeFile(onnx, bytes);
    assert.ok(await findPulled(TINY, modelsDir), "sizes are as they were");
    assert.deepEqual(await pull(), first);
    assert.equal(await sha256Of(onnx), first.lock.files.find(({ path }) => path === "onnx/model.onnx")!.sha256);
    assert.deepEqual(await unfinished(modelsDir), []);
  });

  test("external weights with numbered names are pulled, up to the first missing number", async () => {
    const files = { "config.json": CONFIG, "onnx/model_fp16.onnx": randomBytes(1000) };
    const weights = ["", "_1", "_2"].map((end) => [`onnx/model_fp16.onnx_data${end}`, randomBytes(3000)] as const);
    const repo = { files: { ...files, ...Object.fromEntries(weights), "onnx/model_fp16.onnx_data_4": randomBytes(9) } };
    await using place = await openHubPlace({ repos: { "tests/large": repo } });
    const { lock } = await place.pull({ repo: "tests/large", dtype: "fp16" });
    const expected = [...Object.keys(files), ...weights.map(([path]) => path)].sort();
    assert.deepEqual(
      lock.files.map(({ path }) => path),
      expected,
    );
  });

  test("an image model with a tokenizer and its recipe only in processor_config.json is pulled with its recipe", async () => {
    const [recipe, onnx] = await Promise.all(
      ["preprocessor_config.json", "onnx/model.onnx"].map((path) => readFile(join(TINY_DIR, path))),
    );
    const files = {
      "config.json": CONFIG,
      "onnx/model.onnx": onnx!,
      "processor_config.json": Buffer.from(JSON.stringify({ image_processor: JSON.parse(String(recipe)) })),
      "tokenizer.json": Buffer.from("{}"),
      "tokenizer_config.json": Buffer.from("{}"),
    };
    await using place = await openHubPlace({ repos: { "tests/clip": { files } } });
    const { dir, lock } = await place.pull({ repo: "tests/clip" });
    assert.deepEqual(
      lock.files.map(({ path }) => path),
      Object.keys(files),
    );
    assert.deepEqual((await loadModel(dir)).recipe, (await loadModel(TINY_DIR)).recipe);
  });

  test("two different recipes are both pulled, so that the model is refused as a folder would be", async () => {
    const recipe = JSON.parse(await readFile(join(TINY_DIR, "preprocessor_config.json"), "utf8")) as object;
    const files = {
      "config.json": CONFIG,
      "onnx/model.onnx": await readFile(join(TINY_DIR, "onnx/model.onnx")),
      "preprocessor_config.json": Buffer.from(JSON.stringify(recipe)),
      "processor_config.json": Buffer.from(JSON.stringify({ image_processor: { ...recipe, resample: 0 } })),
    };
    await using place = await openHubPlace({ repos: { "tests/both": { files } } });
    const { dir } = await place.pull({ repo: "tests/both" });
    await assert.rejects(loadModel(dir), {
      code: "MODEL_INVALID",
      message: /processor_config\.json: image_processor: /,
    });
  });

  test("offline, a branch means the commit of the last pull", async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir, pull } = place;
    const first = await pull();
    const next = hub.publish(TINY.repo, { "config.json": CONFIG, "onnx/model.onnx": randomBytes(5000) });
    const asked = hub.requests.length;
    assert.deepEqual(await findPulled(TINY, modelsDir), first);
    assert.equal(hub.requests.length, asked, "nothing is asked for");

    const second = await pull();
    assert.equal(second.lock.commit, next);
    assert.deepEqual(await findPulled(TINY, modelsDir), second);
    assert.deepEqual(
      await findPulled({ ...TINY, revision: first.lock.commit }, modelsDir),
      first,
      "the older one stays",
    );
    for (const other of [
      { revision: "dev" },
      { dtype: "q8" as const },
      { repo: "tests/other" },
      { revision: "0".repeat(40) },
    ])
      assert.equal(await findPulled({ ...TINY, ...other }, modelsDir), undefined);
  });

  test("a branch that changes during a pull mixes no files", async () => {
    await using place = await openHubPlace();
    const { hub, pull } = place;
    const commit = hub.commitOf(TINY.repo);
    hub.fault = ({ file }) => {
      if (file === "onnx/model.onnx" && hub.commitOf(TINY.repo) === commit)
        hub.publish(TINY.repo, { "config.json": CONFIG, "onnx/model.onnx": randomBytes(5000) });
      return undefined;
    };
    const { lock } = await pull();
    assert.equal(lock.commit, commit);
    assert.equal(
      lock.files.find(({ path }) => path === "onnx/model.onnx")!.sha256,
      await sha256Of(join(TINY_DIR, "onnx/model.onnx")),
    );
  });

  test("revisions with slashes are encoded, and distinguished from others", async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir, pull } = place;
    const commit = hub.publish(TINY.repo, { "config.json": CONFIG, "onnx/model.onnx": randomBytes(50) }, "refs/pr/1");
    const { dir } = await pull({ revision: "refs/pr/1" });
    assert.ok(hub.requests[0]!.path.includes("/resolve/refs%2Fpr%2F1/"));
    assert.equal((await findPulled({ ...TINY, revision: "refs/pr/1" }, modelsDir))?.lock.commit, commit);
    assert.equal(await findPulled(TINY, modelsDir), undefined);
    assert.deepEqual(await modelFolders(modelsDir), [dir.slice(modelsDir.length + 1)]);
  });

  test("an incomplete model is not found: a short or missing file, or another lock", async () => {
    await using place = await openHubPlace();
    const { modelsDir, pull } = place;
    const { dir } = await pull();
    const lock = join(dir, "labelmill.lock.json");
    const text = await readFile(lock, "utf8");
    for (const wrong of [
      "",
      "{}",
      text.replace("tests/tiny-image", "tests/other"),
      text.replace("config.json", "../config.json"),
    ]) {
      await writeFile(lock, wrong);
      assert.equal(await findPulled(TINY, modelsDir), undefined, wrong);
    }
    await writeFile(lock, text);
    assert.ok(await findPulled(TINY, modelsDir));
    await truncate(join(dir, "onnx/model.onnx"), 1000);
    assert.equal(await findPulled(TINY, modelsDir), undefined);
    await rm(join(dir, "onnx/model.onnx"));
    assert.equal(await findPulled(TINY, modelsDir), undefined);
    await pull();
    assert.ok(await findPulled(TINY, modelsDir));
  });
});

describe("pins", { concurrency: 2 }, () => {
  test("that match: the model is pulled and found", async () => {
    await using place = await openHubPlace();
    const { modelsDir, pull } = place;
    const { lock, dir } = await pull();
    const pins: Pins = { commit: lock.commit, files: lock.files };
    await rm(dir, { recursive: true });
    assert.equal(await findPulled(TINY, modelsDir, pins), undefined);
    assert.deepEqual((await pull({}, { pins })).lock, lock);
    assert.deepEqual(
      (await findPulled({ ...TINY, revision: "never-pulled" }, modelsDir, pins))?.lock,
      lock,
      "by the commit",
    );
  });

  test("a changed revision, another size or hash, an added or missing file: refused without a download", async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir, pull } = place;
    const { lock, dir } = await pull();
    await rm(join(dir, ".."), { recursive: true });
    hub.takeSentBytes();
    const pins: Pins = { commit: lock.commit, files: lock.files };
    const onOnnx = (change: object) =>
      lock.files.map((file) => (file.path === "onnx/model.onnx" ? { ...file, ...change } : file));
    const wrong: [Pins, RegExp][] = [
      [{ ...pins, commit: "0".repeat(40) }, /expected the commit 0{40}, got [0-9a-f]{40}: the revision has changed/],
      [{ ...pins, files: onOnnx({ size: 5 }) }, /onnx\/model\.onnx has 704490 bytes instead of the pinned 5/],
      [
        { ...pins, files: onOnnx({ sha256: "0".repeat(64) }) },
        /onnx\/model\.onnx has the SHA-256 .{64} instead of the pinned 0{64}/,
      ],
      [{ ...pins, files: lock.files.slice(1) }, /config\.json is not pinned/],
      [
        { ...pins, files: [...lock.files, { ...lock.files[0]!, path: "tokenizer.json" }] },
        /tokenizer\.json is pinned but missing/,
      ],
    ];
    for (const [each, message] of wrong) {
      await assert.rejects(pull({}, { pins: each }), { code: "MODEL_HASH", message, retryable: false });
      assert.equal(await findPulled(TINY, modelsDir, each), undefined);
    }
    assert.equal(hub.takeSentBytes(), 0);
    assert.deepEqual(await readdir(modelsDir), []);
  });

  test("apply to small files too, whose SHA-256 is known only after the download, which is then removed", async () => {
    await using place = await openHubPlace();
    const { modelsDir, pull } = place;
    const { lock, dir } = await pull();
    await rm(join(dir, ".."), { recursive: true });
    const files = lock.files.map((file) => (file.path === "config.json" ? { ...file, sha256: "0".repeat(64) } : file));
    const pulling = pull({}, { pins: { commit: lock.commit, files } });
    await assert.rejects(pulling, { code: "MODEL_HASH", message: /config\.json has the SHA-256/ });
    assert.deepEqual(await readdir(join(modelsDir, "tests--tiny-image")), []);
  });

  test("refuse a model that was pulled without them", async () => {
    await using place = await openHubPlace();
    const { modelsDir, pull } = place;
    const { lock } = await pull();
    const files = lock.files.map((file) => (file.path === "config.json" ? { ...file, sha256: "0".repeat(64) } : file));
    const pins = { commit: lock.commit, files };
    assert.equal(await findPulled(TINY, modelsDir, pins), undefined);
    await assert.rejects(pull({}, { pins }), { code: "MODEL_HASH" });
  });
});
