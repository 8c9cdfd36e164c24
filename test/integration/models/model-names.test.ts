import assert from "node:assert/strict";
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { loadModel, type Model } from "../../../src/inference/model/model.ts";
import { addModel } from "../../../src/models/add.ts";
import { openCatalog } from "../../../src/models/catalog.ts";
import { pinPulled } from "../../../src/models/pin.ts";
import { type ModelSettings, pullAgain, resolveModel } from "../../../src/models/resolve.ts";
import { writeTextModel } from "../../helpers/models/onnx.ts";
import { MODELS, temporaryFolder } from "../../helpers/runs/pipeline.ts";
import { type Hub, startHub } from "../../helpers/servers/hub-server.ts";

const TEXT_REPO = "Xenova/distilbert-base-uncased-finetuned-sst-2-english";
const IMAGE_REPO = "Xenova/resnet-50";
const signal = new AbortController().signal;

/** A machine without models, and a hub with small models under the names of the real ones. */
class TestMachine implements AsyncDisposable {
  readonly hub: Hub;
  readonly folder: string;
  readonly catalogFile: string;
  /** The reported lines about pulls. */
  readonly reports: string[] = [];
  readonly #release: () => Promise<void>;

  private constructor(hub: Hub, folder: string, release: () => Promise<void>) {
    this.hub = hub;
    this.folder = folder;
    this.catalogFile = join(folder, "catalog.json");
    this.#release = release;
  }

  /** @param more files of the text model's repository, by their names, each a copy of its weights */
  static async open(...more: string[]): Promise<TestMachine> {
    const open = new AsyncDisposableStack();
    const { path } = open.use(await temporaryFolder());
    await writeTextModel(join(path, "text"), { weights: [1, -1], bias: [0, 0] });
    for (const name of more) await cp(join(path, "text/onnx/model.onnx"), join(path, "text", name));
    const repos = { [TEXT_REPO]: { files: join(path, "text") }, [IMAGE_REPO]: { files: join(MODELS, "tiny-image") } };
    const hub = open.use(await startHub({ repos }));
    return new TestMachine(hub, path, () => open.disposeAsync());
  }

  /** Publishes another version of the text model on `main`. */
  async move(): Promise<string> {
    await writeFile(join(this.folder, "text/tokenizer_config.json"), "{}");
    return this.hub.publish(TEXT_REPO, join(this.folder, "text"));
  }

  async settings(changes: Partial<ModelSettings> = {}): Promise<ModelSettings> {
    return {
      catalog: await openCatalog(this.catalogFile, false),
      modelsDir: join(this.folder, "models"),
      offline: false,
      endpoint: this.hub.endpoint,
      dtype: "auto",
      device: "cpu",
      ...changes,
    };
  }

  async resolve(name: string, changes: Partial<ModelSettings> = {}): Promise<Model> {
    return resolveModel(name, await this.settings(changes), this.listener, signal);
  }

  async pull(name: string, changes: Partial<ModelSettings> = {}): Promise<Model> {
    return pullAgain(name, await this.settings(changes), this.listener, signal);
  }

  async lock(...names: string[]) {
    return pinPulled(names, await this.settings(), this.catalogFile);
  }

  async add(dir: string, id: string): Promise<Model[]> {
    return addModel({ dir, id, file: this.catalogFile });
  }

  /** The folders of pulled models. */
  async pulled(repo: string): Promise<string[]> {
    const names = await readdir(join(this.folder, "models", repo.replace("/", "--"))).catch(() => []);
    return names.filter((name) => /^[0-9a-f]{40}-/.test(name)).sort();
  }

  get listener() {
    return {
      began: ({ name }: { name: string }, dtype: string) => void this.reports.push(`began ${name} ${dtype}`),
      progress: () => {},
      ended: (pulled: unknown) => void this.reports.push(pulled ? "pulled" : "failed"),
      say: (line: string) => void this.reports.push(line),
    };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#release();
  }
}

describe("a model by its name", () => {
  test("of the catalog is pulled at its first use, and not requested again", async () => {
    await using machine = await TestMachine.open();
    const model = await machine.resolve("distilbert-sst2");
    const commit = machine.hub.commitOf(TEXT_REPO);
    assert.deepEqual([model.id, model.revision, model.dtype], ["distilbert-sst2", commit, "fp32"]);
    assert.equal(
      model.digest,
      (await loadModel(join(machine.folder, "text"))).digest,
      "the same files are the same model",
    );
    assert.deepEqual(machine.reports, ["began distilbert-sst2 fp32", "pulled"]);
    const asked = machine.hub.requests.length;
    assert.equal((await machine.resolve("distilbert-sst2")).digest, model.digest);
    assert.equal((await machine.resolve("distilbert-sst2", { offline: true })).digest, model.digest);
    assert.equal(machine.hub.requests.length, asked);
    assert.equal((await machine.resolve("resnet50")).task, "image-classification");
  });

  test("hf: names any repository, at a revision that is not part of the id", async () => {
    await using machine = await TestMachine.open();
    const old = machine.hub.commitOf(TEXT_REPO);
    await machine.move();
    const latest = await machine.resolve(`hf:${TEXT_REPO}`);
    const pinned = await machine.resolve(`hf:${TEXT_REPO}@${old}`);
    assert.deepEqual([latest.id, pinned.id], [`hf:${TEXT_REPO}`, `hf:${TEXT_REPO}`]);
    assert.deepEqual([latest.revision, pinned.revision], [machine.hub.commitOf(TEXT_REPO), old]);
    assert.notEqual(latest.digest, pinned.digest);
    for (const name of ["hf:", "hf:name", "hf:a/b/c", "hf:a/b@", "hf:a/b@x@y", "hf:../b", "hf:a/b@../c"])
      await assert.rejects(machine.resolve(name), { code: "USAGE", message: /expected hf:OWNER\/NAME/ }, name);
    await assert.rejects(machine.resolve("hf:no/such"), { code: /MODEL_(NOT_FOUND|FORBIDDEN)/ });
  });

  test("of a folder, of a built-in model, and an unknown one", async () => {
    await using machine = await TestMachine.open();
    await writeTextModel(join(machine.folder, "own"), { weights: [1, -1], bias: [0, 0] });
    assert.equal((await machine.resolve(join(machine.folder, "own"))).id, "own");
    const { id, dir, revision } = await machine.resolve("tiny-image");
    assert.deepEqual([id, dir, revision], ["tiny-image", join(MODELS, "tiny-image"), "local"]);
    await assert.rejects(machine.resolve("no-such-model"), {
      code: "MODEL_NOT_FOUND",
      message:
        /"no-such-model": name one of the catalog \(distilbert-sst2, .*tiny-image\), hf:OWNER\/NAME, or a model's folder/,
    });
    assert.equal(machine.hub.requests.length, 0);
  });

  test("without published ONNX: the error says how to export and add it", async () => {
    await using machine = await TestMachine.open();
    await assert.rejects(machine.resolve("siebert-sentiment"), {
      code: "MODEL_INVALID",
      message:
        /`optimum-cli export onnx --model siebert\/sentiment-roberta-large-english --task text-classification DIR`, then `labelmill models add DIR --id siebert-sentiment`/,
    });
  });

  test("offline and not on this machine: the fix, the built-in models, and no request", async () => {
    await using machine = await TestMachine.open();
    await assert.rejects(machine.resolve("resnet50", { offline: true }), {
      code: "MODEL_NOT_FOUND",
      message:
        /resnet50 is not on this machine.*`labelmill models pull resnet50`.*built-in model \(tiny-sentiment, tiny-image\)/,
    });
    await assert.rejects(machine.pull("resnet50", { offline: true }), { code: "USAGE", message: /LABELMILL_OFFLINE/ });
    assert.equal(machine.hub.requests.length, 0);
  });

  test("an invalid answer of the hub: a separate error, with the same fix", async () => {
    await using machine = await TestMachine.open();
    machine.hub.fault = () => ({ headers: { "x-repo-commit": undefined } });
    await assert.rejects(machine.resolve("resnet50"), {
      code: "MODEL_UNAVAILABLE",
      message: /no commit.*labelmill models pull resnet50.*tiny-image/,
    });
    assert.deepEqual(machine.reports, ["began resnet50 fp32", "failed"]);
  });

  test("the task in the catalog is checked against the files", async () => {
    await using machine = await TestMachine.open();
    const models = [{ id: "x", task: "image-classification", folder: "text" }];
    await writeFile(machine.catalogFile, JSON.stringify({ schemaVersion: 1, models }));
    await assert.rejects(machine.resolve("x"), {
      code: "MODEL_INVALID",
      message: /expected a model for image-classification, as the catalog has for x, got one for text-classification/,
    });
  });
});

describe("dtype", () => {
  const cuda = { device: "cuda" } as const;

  test("auto uses fp16 on CUDA if it exists, else fp32 with a report; fp32 on the CPU; q8 if requested", async () => {
    await using machine = await TestMachine.open("onnx/model_fp16.onnx", "onnx/model_quantized.onnx");
    assert.equal((await machine.resolve("distilbert-sst2", cuda)).dtype, "fp16");
    assert.equal((await machine.resolve("distilbert-sst2")).dtype, "fp32");
    const q8 = await machine.resolve("distilbert-sst2", { dtype: "q8" });
    assert.deepEqual([q8.dtype, q8.modelFile.endsWith("onnx/model_quantized.onnx")], ["q8", true]);
    assert.equal((await machine.pulled(TEXT_REPO)).length, 3);

    machine.reports.length = 0;
    assert.equal((await machine.resolve("resnet50", cuda)).dtype, "fp32");
    assert.match(
      machine.reports.at(-1)!,
      /resnet50: onnx\/model_fp16\.onnx is not available: using onnx\/model\.onnx \(fp32\)/,
    );
    assert.equal((await machine.resolve("resnet50", { ...cuda, offline: true })).dtype, "fp32");
    await assert.rejects(machine.resolve("resnet50", { dtype: "q8" }), {
      code: "MODEL_NOT_FOUND",
      message: /model_quantized\.onnx/,
    });
    assert.equal((await machine.resolve("tiny-image", cuda)).dtype, "fp32");
  });

  test("auto uses the pinned precisions of a pinned model", async () => {
    await using machine = await TestMachine.open("onnx/model_fp16.onnx");
    await machine.resolve("distilbert-sst2");
    await machine.lock();
    assert.equal((await machine.resolve("distilbert-sst2", cuda)).dtype, "fp32");
  });
});

describe("pins", () => {
  test("lock pins pulled models in the user's catalog; a later change of the branch has no effect", async () => {
    await using machine = await TestMachine.open();
    await assert.rejects(machine.lock(), { code: "MODEL_NOT_FOUND", message: /labelmill models pull/ });
    await assert.rejects(machine.lock("resnet50"), {
      code: "MODEL_NOT_FOUND",
      message: /expected resnet50 on this machine/,
    });
    await assert.rejects(machine.lock("tiny-image"), { code: "USAGE", message: /is the folder/ });
    const kept = { id: "kept", task: "text-classification", folder: "kept", about: "mine" };
    await writeFile(machine.catalogFile, JSON.stringify({ schemaVersion: 1, models: [kept] }));

    const { digest, files } = await machine.resolve("distilbert-sst2");
    await machine.resolve(`hf:${IMAGE_REPO}`);
    const commit = machine.hub.commitOf(TEXT_REPO);
    assert.deepEqual(await machine.lock("distilbert-sst2"), [
      { name: "distilbert-sst2", dtype: "fp32", commit, files: 4 },
    ]);
    const [hf] = await machine.lock(`hf:${IMAGE_REPO}`);
    assert.equal(hf!.name, `hf:${IMAGE_REPO}@main`);
    assert.deepEqual(
      (await machine.lock()).map(({ name }) => name),
      ["distilbert-sst2", "resnet50", `hf:${IMAGE_REPO}@main`],
      "the same repository by another name",
    );
    const { models } = JSON.parse(await readFile(machine.catalogFile, "utf8"));
    assert.deepEqual(models[0], kept);
    assert.deepEqual(models[1].pins, { fp32: { commit, files } });
    assert.deepEqual([models.length, models[2].task], [4, "image-classification"]);

    await machine.move();
    assert.equal((await machine.pull("distilbert-sst2")).digest, digest, "pulled again, it is the pinned one");
    const elsewhere = join(machine.folder, "another machine");
    assert.equal((await machine.resolve("distilbert-sst2", { modelsDir: elsewhere })).digest, digest);
  });

  test("a pinned model with another commit or other bytes on the hub: MODEL_HASH, and nothing is used", async () => {
    await using machine = await TestMachine.open();
    await machine.resolve("distilbert-sst2");
    await machine.lock();
    await rm(join(machine.folder, "models"), { recursive: true });
    const moved = await machine.move();
    // A mirror that has only the latest commit.
    machine.hub.fault = ({ path }) =>
      path.includes("/resolve/") ? { headers: { "x-repo-commit": moved } } : undefined;
    await assert.rejects(machine.resolve("distilbert-sst2"), { code: "MODEL_HASH", message: /revision has changed/ });
    assert.deepEqual(await machine.pulled(TEXT_REPO), []);

    machine.hub.fault = () => undefined;
    const text = await readFile(machine.catalogFile, "utf8");
    const [pinned] = JSON.parse(text).models[0].pins.fp32.files;
    await writeFile(machine.catalogFile, text.replace(pinned.sha256, "0".repeat(64)));
    await assert.rejects(machine.resolve("distilbert-sst2"), { code: "MODEL_HASH", message: /config\.json/ });
    assert.deepEqual(await machine.pulled(TEXT_REPO), []);
  });

  test("a pulled file that was changed is refused, and pulling again fixes it", async () => {
    await using machine = await TestMachine.open();
    const { dir, digest } = await machine.resolve("distilbert-sst2");
    const path = join(dir, "tokenizer_config.json");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace("512", "128"));
    await assert.rejects(machine.resolve("distilbert-sst2"), {
      code: "MODEL_HASH",
      message: /tokenizer_config\.json: expected the pinned SHA-256 .*labelmill models pull distilbert-sst2/,
    });
    await assert.rejects(machine.lock(), { code: "MODEL_HASH" });
    assert.equal((await machine.pull("distilbert-sst2")).digest, digest);
    assert.equal((await machine.resolve("distilbert-sst2")).digest, digest);
  });
});

describe("models add", () => {
  test("checks a folder by a real run, names it, and pins its files", async () => {
    await using machine = await TestMachine.open();
    const dir = join(machine.folder, "own");
    await writeTextModel(dir, { weights: [1, -1, 0], bias: [0, 0, 0] });
    await cp(join(dir, "onnx/model.onnx"), join(dir, "onnx/model_quantized.onnx"));
    const added = await machine.add(dir, "mine");
    assert.deepEqual(
      added.map(({ id, dtype, labels }) => [id, dtype, labels.length]),
      [
        ["mine", "fp32", 3],
        ["mine", "q8", 3],
      ],
    );
    assert.equal((await machine.resolve("mine")).digest, added[0]!.digest);
    assert.equal((await machine.resolve("mine", { dtype: "q8" })).digest, added[1]!.digest);
    await cp(join(dir, "onnx/model.onnx"), join(dir, "onnx/model_fp16.onnx"));
    await assert.rejects(
      machine.resolve("mine", { dtype: "fp16" }),
      { code: "MODEL_HASH" },
      "the file was added later",
    );
    await writeFile(join(dir, "tokenizer_config.json"), "{}");
    await assert.rejects(machine.resolve("mine"), {
      code: "MODEL_HASH",
      message: /tokenizer_config\.json: expected the pinned SHA-256 .*labelmill models add .*own --id mine/,
    });
    await machine.add(dir, "mine");
    assert.equal((await machine.resolve("mine")).labels.length, 3);
  });

  test("accepts the layout of Optimum's export: the weights in the folder itself", async () => {
    await using machine = await TestMachine.open();
    const dir = join(machine.folder, "siebert");
    await writeTextModel(dir, { weights: [1, -1], bias: [0, 0] });
    await rename(join(dir, "onnx/model.onnx"), join(dir, "model.onnx"));
    await rm(join(dir, "onnx"), { recursive: true });
    await machine.add(dir, "siebert-sentiment");
    const model = await machine.resolve("siebert-sentiment");
    assert.deepEqual([model.id, model.modelFile], ["siebert-sentiment", join(dir, "model.onnx")]);
    // External weights that did not exist when the model was added.
    await writeFile(join(dir, "model.onnx_data"), "weights");
    await assert.rejects(machine.resolve("siebert-sentiment"), { code: "MODEL_HASH", message: /model\.onnx_data/ });
  });

  test("an invalid folder: one error with the file and what was expected, and no entry", async () => {
    await using machine = await TestMachine.open();
    const broken = async (name: string, spoil: (dir: string) => Promise<void>) => {
      const dir = join(machine.folder, name);
      await writeTextModel(dir, { weights: [1, -1], bias: [0, 0] });
      await spoil(dir);
      return dir;
    };
    const config = (change: object) => async (dir: string) => {
      const content = JSON.parse(await readFile(join(dir, "config.json"), "utf8"));
      await writeFile(join(dir, "config.json"), JSON.stringify({ ...content, ...change }));
    };
    const CASES: [string, (dir: string) => Promise<void>, RegExp][] = [
      ["no tokenizer", (dir) => rm(join(dir, "tokenizer.json")), /tokenizer\.json: expected this file/],
      ["no weights", (dir) => rm(join(dir, "onnx/model.onnx")), /onnx\/model\.onnx: expected this file for fp32/],
      ["a tokenizer that is none", (dir) => writeFile(join(dir, "tokenizer.json"), "{}"), /tokenizer\.json/],
      [
        "damaged ONNX",
        (dir) => writeFile(join(dir, "onnx/model.onnx"), "not a model"),
        /onnx\/model\.onnx: expected an ONNX model/,
      ],
      [
        "another width",
        config({ id2label: { 0: "A", 1: "B", 2: "C" } }),
        /onnx\/model\.onnx: .*expected .*3\D.*got .*2\D/,
      ],
      [
        "another task",
        config({ architectures: ["BertForMaskedLM"] }),
        /config\.json: architectures: expected .*BertForMaskedLM/,
      ],
      [
        "unknown inputs",
        async (dir) => {
          await cp(join(MODELS, "tiny-image/onnx/model.onnx"), join(dir, "onnx/model.onnx"));
        },
        /onnx\/model\.onnx: .*expected input_ids.*got pixel_values/,
      ],
    ];
    for (const [name, spoil, message] of CASES) {
      const dir = await broken(name, spoil);
      await assert.rejects(machine.add(dir, "mine"), { code: "MODEL_INVALID", message }, name);
    }
    await assert.rejects(machine.add(join(machine.folder, "none"), "mine"), { code: "MODEL_NOT_FOUND" });
    await mkdir(machine.folder, { recursive: true });
    await assert.rejects(readFile(machine.catalogFile), { code: "ENOENT" });
  });
});
