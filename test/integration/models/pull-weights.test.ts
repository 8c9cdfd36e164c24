import assert from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { loadModel } from "../../../src/inference/model/model.ts";
import { findPulled, type PullProgress } from "../../../src/models/hub/pull.ts";
import type { Pins } from "../../../src/models/lock-file.ts";
import { type PixelModel, pixelModel, pixelWeights } from "../../helpers/models/pixel-model.ts";
import { type HubPlace, modelFolders, openHubPlace, TINY_DIR, unfinished } from "../../helpers/servers/hub-place.ts";
import type { HubRequest } from "../../helpers/servers/hub-server.ts";

const REPO = "tests/external";
const MODEL: PixelModel = { width: 32, height: 32, labels: 10, externalFile: "weights (1).bin" };
const WEIGHTS = "onnx/weights (1).bin";
const BYTES = pixelWeights(MODEL).byteLength;
const PATHS = ["config.json", "onnx/model.onnx", WEIGHTS, "preprocessor_config.json"];
const isWeightsBytes = ({ file, origin }: HubRequest) => origin === "cdn" && file === WEIGHTS;

async function files(change: Partial<PixelModel> = {}): Promise<Record<string, Uint8Array>> {
  const [config, recipe] = await Promise.all(
    ["config.json", "preprocessor_config.json"].map((name) => readFile(join(TINY_DIR, name))),
  );
  return {
    "config.json": config!,
    "preprocessor_config.json": recipe!,
    "onnx/model.onnx": pixelModel({ ...MODEL, ...change }),
    [WEIGHTS]: new Uint8Array(pixelWeights(MODEL).buffer),
  };
}

async function openPlace(change: Partial<PixelModel> = {}, isLfs = true): Promise<HubPlace> {
  const repos = { [REPO]: { files: await files(change) } };
  return openHubPlace({ repos, isLfs: (path) => path.endsWith(".onnx") || (isLfs && path === WEIGHTS) });
}

describe("a model on the hub with external weights in a file of any name", { concurrency: 2 }, () => {
  for (const isLfs of [true, false])
    test(`is pulled with the weights, hashed and in the lock (${isLfs ? "in LFS" : "in git"})`, async () => {
      await using place = await openPlace({}, isLfs);
      const { hub, modelsDir, pull } = place;
      const progress: PullProgress[] = [];
      const { dir, lock } = await pull({ repo: REPO }, { onProgress: (each) => progress.push(each) });
      assert.deepEqual(
        lock.files.map(({ path }) => path),
        PATHS,
      );
      assert.deepEqual((await loadModel(dir)).files, lock.files);
      const total = lock.files.reduce((sum, { size }) => sum + size, 0);
      assert.deepEqual(progress.at(-1), { ...progress.at(-1), doneBytes: total, totalBytes: total });
      assert.equal(hub.takeSentBytes(), total, "each byte comes once");
      assert.deepEqual(await pull({ repo: REPO }), { dir, lock });
      assert.equal(hub.takeSentBytes(), 0);

      const bytes = await readFile(join(dir, WEIGHTS));
      bytes[9]! ^= 1;
      await writeFile(join(dir, WEIGHTS), bytes);
      assert.deepEqual(await pull({ repo: REPO }), { dir, lock }, "damaged weights are found by their content");
      assert.equal((await loadModel(dir)).files[2]!.sha256, lock.files[2]!.sha256);
      assert.deepEqual(await unfinished(modelsDir), []);
    });

  test("continues an interrupted download of the weights", async () => {
    await using place = await openPlace();
    const { hub, modelsDir, pull } = place;
    const abort = new AbortController();
    hub.fault = (request) => (isWeightsBytes(request) ? { stallAfter: 50_000 } : undefined);
    let done = 0;
    const onProgress = ({ doneBytes, totalBytes }: PullProgress) => {
      done = doneBytes;
      if (totalBytes - doneBytes === BYTES - 50_000) abort.abort();
    };
    await assert.rejects(pull({ repo: REPO }, { signal: abort.signal, onProgress }), { code: "ABORTED" });
    assert.equal(await findPulled({ repo: REPO, revision: "main", dtype: "fp32" }, modelsDir), undefined);
    assert.deepEqual(await modelFolders(modelsDir), []);
    hub.fault = () => undefined;
    hub.takeSentBytes();
    const { lock } = await pull({ repo: REPO });
    assert.equal(hub.takeSentBytes(), lock.files.reduce((sum, { size }) => sum + size, 0) - done);
  });

  test("is refused with other weights than announced, and the download is removed", async () => {
    await using place = await openPlace();
    const { hub, modelsDir, pull } = place;
    hub.fault = (request) => (isWeightsBytes(request) ? { body: Buffer.alloc(BYTES, 1) } : undefined);
    await assert.rejects(pull({ repo: REPO }), { code: "MODEL_HASH", message: /weights \(1\)\.bin: expected/ });
    assert.deepEqual([await modelFolders(modelsDir), await unfinished(modelsDir)], [[], []]);
  });

  test("is checked against its pins, weights too, before any download", async () => {
    await using place = await openPlace();
    const { hub, modelsDir, pull } = place;
    const { lock, dir } = await pull({ repo: REPO });
    const pins: Pins = { commit: lock.commit, files: lock.files };
    await rm(join(dir, ".."), { recursive: true });
    hub.takeSentBytes();
    const wrong = lock.files.map((file) => (file.path === WEIGHTS ? { ...file, sha256: "0".repeat(64) } : file));
    const pulling = pull({ repo: REPO }, { pins: { ...pins, files: wrong } });
    await assert.rejects(pulling, { code: "MODEL_HASH", message: /weights \(1\)\.bin has the SHA-256/ });
    assert.equal(hub.takeSentBytes(), 0);
    const without = pull(
      { repo: REPO },
      { pins: { ...pins, files: lock.files.filter(({ path }) => path !== WEIGHTS) } },
    );
    await assert.rejects(without, { code: "MODEL_HASH", message: /weights \(1\)\.bin is not pinned/ });
    assert.deepEqual(await modelFolders(modelsDir), []);
    assert.deepEqual((await pull({ repo: REPO }, { pins })).lock, lock);
  });

  for (const [what, externalFile, message] of [
    ["that the repository lacks", "other.bin", /has weights in onnx\/other\.bin: expected this file in the repository/],
    ["outside of the folder", "../config.json", /location of weights: expected a file in its folder or below/],
    ["at an absolute path", "/etc/hostname", /location of weights: expected a file in its folder or below/],
  ] as const)
    test(`is refused with weights ${what}; a path outside of the folder is not requested`, async () => {
      await using place = await openPlace({ externalFile });
      const { hub, modelsDir, pull } = place;
      await assert.rejects(pull({ repo: REPO }), { code: "MODEL_INVALID", message });
      assert.deepEqual(await modelFolders(modelsDir), []);
      assert.ok(hub.requests.every(({ path }) => !path.includes("hostname") && !path.includes("..")));
    });
});
