import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { ModelChoice } from "../../../../src/cli/label/model-choice.ts";
import { loadBuiltIn } from "../../../../src/models/built-in.ts";
import { openCatalog } from "../../../../src/models/catalog.ts";
import { putEntries } from "../../../../src/models/catalog-file.ts";
import type { ModelSettings } from "../../../../src/models/resolve.ts";
import type { ServedModel } from "../../../../src/schemas/worker.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";
import { servedModel, workerInfo } from "../../../helpers/runs/worker-info.ts";

const [OLD, NEW] = ["a".repeat(40), "b".repeat(40)];
const FILES = [{ path: "config.json", size: 2, sha256: "c".repeat(64) }];
const listener = { began: () => {}, progress: () => {}, ended: () => {}, say: () => {} };

/** A machine of a producer without models and without a hub, and workers that serve these models. */
async function openChoice(served: Partial<ServedModel>[], changes: Partial<ModelSettings> = {}, pins?: object) {
  const folder = await temporaryFolder();
  const file = join(folder.path, "catalog.json");
  const repo = "Xenova/distilbert-base-uncased-finetuned-sst-2-english";
  if (pins) await putEntries(file, [{ id: "distilbert-sst2", task: "text-classification", repo, pins }]);
  const settings: ModelSettings = {
    catalog: await openCatalog(file, false),
    modelsDir: join(folder.path, "models"),
    offline: true,
    endpoint: "http://127.0.0.1:1",
    dtype: "auto",
    device: "cpu",
    ...changes,
  };
  const choice = new ModelChoice(settings, listener, new AbortController().signal);
  const workers = served.map((model) => workerInfo({ models: [servedModel(model)] }));
  return {
    choose: (name?: string, queueAnyway = false) => choice.choose("text", name, workers, queueAnyway),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const ID = "distilbert-sst2";
const first = servedModel({ id: ID, revision: OLD });
const second = servedModel({ id: ID, revision: NEW, dtype: "q8" });

test("one served version with that name is taken without its files", async () => {
  await using one = await openChoice([first, first]);
  const { pin, labels, files } = await one.choose();
  assert.deepEqual([pin.id, pin.digest, pin.revision, labels, files], [ID, first.digest, OLD, 3, undefined]);
});

test("several served versions: the wanted dtype, the digest, or an error that names the versions", async () => {
  await using several = await openChoice([first, second]);
  const names = [first, second].map(({ digest }) => `${ID}@${digest.slice(0, 8)}`).join(", ");
  await assert.rejects(several.choose(), { code: "MODEL_NOT_FOUND", message: new RegExp(`choose one of ${names}$`) });
  assert.equal((await several.choose(`${ID}@${second.digest.slice(0, 8)}`)).pin.digest, second.digest);
  await using q8 = await openChoice([first, second], { dtype: "q8" });
  assert.equal((await q8.choose()).pin.digest, second.digest);
  await using fp16 = await openChoice([first, second], { dtype: "fp16" });
  await assert.rejects(fp16.choose(), { code: "NO_WORKER" });
});

test("a model that the catalog pins is not taken at another commit", async () => {
  const pins = { fp32: { commit: NEW, files: FILES } };
  await using other = await openChoice([first], {}, pins);
  await assert.rejects(other.choose(), { code: "NO_WORKER" });
  await using unpinned = await openChoice([second], {}, pins);
  await assert.rejects(unpinned.choose(), { code: "NO_WORKER" });
  await using named = await openChoice([second], { dtype: "q8" }, pins);
  assert.equal((await named.choose()).pin.dtype, "q8");
  await using same = await openChoice([{ ...first, revision: NEW }], {}, pins);
  assert.equal((await same.choose()).pin.revision, NEW);
});

test("hf: names choose a version of that repository, at the given commit", async () => {
  await using hub = await openChoice([{ id: "hf:a/b", revision: OLD }]);
  for (const name of ["hf:a/b", "hf:a/b@main", `hf:a/b@${OLD}`, `hf:a/b@${OLD.slice(0, 8)}`])
    assert.equal((await hub.choose(name)).pin.revision, OLD, name);
  for (const name of [`hf:a/b@${NEW}`, "hf:a/b@v2", "hf:a/c"])
    await assert.rejects(hub.choose(name), { code: "NO_WORKER", message: /workers serve hf:a\/b@/ }, name);
});

test("no worker serves the model: the files on this machine decide, or with --queue-anyway the pulled files", async () => {
  await using unserved = await openChoice([]);
  const { pin, files } = await unserved.choose("tiny-sentiment");
  const { digest } = await loadBuiltIn("tiny-sentiment");
  assert.deepEqual([pin.digest, files?.digest], [digest, digest]);
  await assert.rejects(unserved.choose(), {
    code: "NO_WORKER",
    message: /^no worker serves distilbert-sst2: no worker is registered\. .*--models distilbert-sst2.*--queue-anyway/,
  });
  await assert.rejects(unserved.choose(undefined, true), { code: "MODEL_NOT_FOUND", message: /labelmill models pull/ });
  await assert.rejects(unserved.choose("no-such"), { code: "MODEL_NOT_FOUND", message: /; no worker is registered$/ });
});

test("workers can serve models that have no published ONNX files or are not in the catalog", async () => {
  await using served = await openChoice([{ id: "siebert-sentiment" }, { id: "theirs" }]);
  for (const name of ["siebert-sentiment", "theirs"]) assert.equal((await served.choose(name)).pin.id, name);
  await using others = await openChoice([{ id: "theirs" }]);
  await assert.rejects(others.choose("siebert-sentiment"), {
    code: "MODEL_INVALID",
    message: /optimum-cli.*workers serve theirs$/,
  });
});

test("a model for the other kind is refused", async () => {
  await using images = await openChoice([{ id: "resnet50", task: "image-classification" }]);
  await assert.rejects(images.choose("resnet50"), {
    code: "MODEL_INVALID",
    message: /label text needs a model for text/,
  });
});
