/** The clients of Hugging Face, as their users call them. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { InferenceClient, InferenceClientProviderApiError } from "@huggingface/inference";
import { pythonWith, runProgram } from "../../helpers/python.ts";
import { TestApi } from "../../helpers/servers/api.ts";

const SCRIPT = fileURLToPath(new URL("../../fixtures/clients/hf_client.py", import.meta.url));
const PICTURE = fileURLToPath(new URL("../../../examples/images/cat-grey-tabby.jpg", import.meta.url));
const BOTH = ["tiny-sentiment", "tiny-image"];
const GOOD = "Great value, wonderful";

type Label = { label: string; score: number };
type PythonResult = { labels: Label[] } | { error: string; status: number | null; message: string };

test("huggingface_hub's InferenceClient labels texts and images", async (t) => {
  const packages = /pip install (\S+)/.exec(await readFile(SCRIPT, "utf8"))!.slice(1);
  let python: string;
  try {
    python = await pythonWith(`python-${packages[0]!.replace("==", "-")}`, packages, (line) => console.log(line));
  } catch (error) {
    return t.skip(`needs Python 3 with venv, and the packages: ${(error as Error).message}`);
  }
  await using api = await TestApi.open({ models: BOTH, keys: { shop: ["submit"] } });
  await using busy = await TestApi.open({ worker: false, settings: { requestWait: "100ms" } });
  const { authorization } = api.as("shop");
  const key = authorization.replace("Bearer ", "");
  const [text, image] = BOTH.map((model) => ({ url: `${api.url}/models/${model}`, key }));
  const bytes = { kind: "bytes", value: (await readFile(PICTURE)).toString("base64") };
  const calls = {
    text: { ...text, text: GOOD },
    best: { ...text, text: GOOD, options: { top_k: 1, function_to_apply: "softmax" } },
    default: { url: api.url, key, text: GOOD },
    bytes: { ...image, image: bytes },
    path: { ...image, image: { kind: "path", value: PICTURE } },
    name: { ...image, image: { kind: "text", value: PICTURE } },
    bestOfImage: { ...image, image: bytes, options: { top_k: 2 } },
    untypedToDefault: { url: `${api.url}/`, key, image: bytes },
    sigmoid: { ...text, text: GOOD, options: { function_to_apply: "sigmoid" } },
    empty: { ...text, text: "" },
    noPicture: { ...image, image: { kind: "bytes", value: "AAAA" } },
    wrongKey: { url: api.url, key: `${key.slice(0, -1)}${key.endsWith("A") ? "B" : "A"}`, text: GOOD },
    unknown: { url: `${api.url}/models/none/such`, key, text: GOOD },
    late: { url: busy.url, text: GOOD },
  };
  const { code, output } = await runProgram(python, [SCRIPT, JSON.stringify(Object.values(calls))]);
  assert.equal(code, 0, output);
  const results: PythonResult[] = JSON.parse(output);
  const found = Object.fromEntries(Object.keys(calls).map((name, at) => [name, results[at]!]));
  const labels = (name: keyof typeof calls) => {
    const result = found[name]!;
    assert.ok("labels" in result, JSON.stringify(result));
    return result.labels.map(({ label }) => label);
  };
  const refusal = (name: keyof typeof calls, status: number, message: RegExp) => {
    const result = found[name]!;
    assert.ok("error" in result, `${name}: ${JSON.stringify(result)}`);
    assert.equal(result.status, status, name);
    assert.match(result.message, message);
  };
  assert.deepEqual(labels("text"), ["POSITIVE", "NEGATIVE"]);
  assert.deepEqual(labels("best"), ["POSITIVE"]);
  assert.deepEqual(labels("default"), ["POSITIVE", "NEGATIVE"]);
  for (const name of ["bytes", "path", "name", "untypedToDefault"] as const) {
    assert.equal(labels(name)[0], "cat");
    assert.equal(labels(name).length, 5);
  }
  assert.deepEqual(labels("bestOfImage"), labels("bytes").slice(0, 2));
  refusal("sigmoid", 400, /parameters\.function_to_apply: expected softmax/);
  refusal("empty", 422, /expected a text|EMPTY_TEXT/);
  refusal("noPicture", 422, /IMAGE_INVALID/);
  refusal("wrongKey", 401, /expected a/);
  refusal("unknown", 404, /none\/such/);
  refusal("late", 503, /expected labels of tiny-sentiment within 0\.1 s/);
});

test("npm's @huggingface/inference labels texts and images", async () => {
  await using api = await TestApi.open({ models: BOTH, keys: { shop: ["submit"] } });
  const key = api.as("shop").authorization.replace("Bearer ", "");
  const client = new InferenceClient(key);
  const [text, image] = BOTH.map((model) => `${api.url}/models/${model}`) as [string, string];
  const names = (labels: Label[]) => labels.map(({ label }) => label);
  assert.deepEqual(names(await client.textClassification({ endpointUrl: text, inputs: GOOD })), [
    "POSITIVE",
    "NEGATIVE",
  ]);
  const best = { endpointUrl: `${api.url}/`, inputs: GOOD, parameters: { top_k: 1 } };
  assert.deepEqual(names(await client.textClassification(best)), ["POSITIVE"]);
  assert.deepEqual(names(await client.endpoint(text).textClassification({ inputs: GOOD })), ["POSITIVE", "NEGATIVE"]);
  const picture = await readFile(PICTURE);
  for (const inputs of [new Blob([picture], { type: "image/jpeg" }), new Blob([picture])]) {
    const labels = names(await client.imageClassification({ endpointUrl: image, inputs }));
    assert.deepEqual([labels[0], labels.length], ["cat", 5]);
  }
  const refusal = (status: number, message: RegExp) => (error: unknown) => {
    assert.ok(error instanceof InferenceClientProviderApiError, String(error));
    assert.equal(error.httpResponse.status, status);
    assert.match(error.message, message);
    return true;
  };
  const empty = client.textClassification({ endpointUrl: text, inputs: "" });
  await assert.rejects(empty, refusal(422, /^Failed to perform inference: .*text/));
  const sigmoid = { endpointUrl: text, inputs: GOOD, parameters: { function_to_apply: "sigmoid" } } as const;
  await assert.rejects(client.textClassification(sigmoid), refusal(400, /expected softmax/));
  const stranger = new InferenceClient(`lm_00000000_${"A".repeat(43)}`);
  await assert.rejects(stranger.textClassification({ endpointUrl: text, inputs: GOOD }), refusal(401, /inference: \w/));
});

test("npm's client sends a request again after 503, until a worker answers it", async () => {
  await using api = await TestApi.open({ worker: false, settings: { requestWait: "100ms" } });
  const answer = new InferenceClient().textClassification({ endpointUrl: api.url, inputs: GOOD });
  await api.pipeline.worker({ threads: 1 });
  assert.equal((await answer)[0]!.label, "POSITIVE");
});
