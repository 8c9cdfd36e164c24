import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { test } from "node:test";
import { openQueue } from "../../../src/runs/queues/queue.ts";
import { queueName } from "../../../src/schemas/names.ts";
import { TestApi } from "../../helpers/servers/api.ts";

const PICTURE = new URL("../../../examples/images/cat-grey-tabby.jpg", import.meta.url);
const BOTH = ["tiny-sentiment", "tiny-image"];
const [GOOD, BAD] = ["Great value, wonderful", "It broke at once, awful"];

type Labels = { label: string; score: number }[];

/** The names of the labels of a text or an image, after a check of the status and of the scores. */
async function labelsOf(response: Response): Promise<string[]>;
async function labelsOf(response: Response, of: "texts"): Promise<string[][]>;
async function labelsOf(response: Response, of?: "texts"): Promise<string[] | string[][]> {
  const body = await response.json();
  assert.equal(response.status, 200, JSON.stringify(body));
  assert.match(response.headers.get("content-type")!, /^application\/json/);
  const names = (labels: Labels) => {
    for (const [at, { score }] of labels.entries()) assert.ok(score <= (labels[at - 1]?.score ?? 1) && score >= 0);
    return labels.map(({ label }) => label);
  };
  return of ? (body as Labels[]).map(names) : names(body as Labels);
}

/** Status, code and the text that clients of Hugging Face show, of an error. */
async function refusalOf(response: Response): Promise<[status: number, code: string, error: string]> {
  const body = (await response.json()) as Record<"status" | "code" | "detail" | "error", string>;
  assert.match(response.headers.get("content-type")!, /^application\/problem\+json/);
  assert.equal(body.error, body.detail);
  assert.equal(body.status, response.status);
  return [response.status, body.code, body.error];
}

test("a text gets a list of one list, and several texts a list for each", async () => {
  await using api = await TestApi.open();
  const post = (path: string, body: unknown) => api.post(path, body);
  assert.deepEqual(await labelsOf(await post("/models/tiny-sentiment", { inputs: GOOD }), "texts"), [
    ["POSITIVE", "NEGATIVE"],
  ]);
  // More rows than an event has.
  const inputs = Array.from({ length: 40 }, (_, at) => (at % 2 === 0 ? GOOD : BAD));
  const one = await post("/", { inputs, parameters: { top_k: 1, function_to_apply: "softmax" } });
  const expected = inputs.map((text) => [text === GOOD ? "POSITIVE" : "NEGATIVE"]);
  assert.deepEqual(await labelsOf(one, "texts"), expected);
  const all = await post("/", { inputs: [BAD], parameters: { top_k: 1000 } });
  assert.deepEqual(await labelsOf(all, "texts"), [["NEGATIVE", "POSITIVE"]]);
});

test("an image gets a flat list, with any content type but JSON, and as base64 in JSON", async () => {
  await using api = await TestApi.open({ models: BOTH });
  const body = await readFile(PICTURE);
  for (const [path, type] of [
    ["/models/tiny-image", "image/jpeg"],
    ["/models/tiny-image", "application/octet-stream"],
    ["/models/tiny-image", "application/x-www-form-urlencoded"],
    ["/", "image/jpeg"],
  ] as const) {
    const labels = await labelsOf(await api.fetch(path, { method: "POST", headers: { "content-type": type }, body }));
    assert.equal(labels.length, 5);
    assert.equal(labels[0], "cat");
  }
  // The image is stored only until the answer.
  for await (const { key } of api.deps.store.list("_uploads/")) assert.fail(key);
  const untyped = await api.fetch("/", { method: "POST", body: new Blob([body]) });
  assert.equal((await labelsOf(untyped))[0], "cat");
  const base64 = { inputs: body.toString("base64"), parameters: { top_k: 2 } };
  const [first, ...more] = await labelsOf(await api.post("/models/tiny-image", base64));
  assert.deepEqual([first, more.length], ["cat", 1]);
});

test("without a model in the path, the kind of the body chooses among the declared models", async () => {
  await using api = await TestApi.open({ models: [...BOTH].reverse() });
  assert.deepEqual(await labelsOf(await api.post("/", { inputs: GOOD }), "texts"), [["POSITIVE", "NEGATIVE"]]);
  const picture = { method: "POST", headers: { "content-type": "image/jpeg" }, body: await readFile(PICTURE) };
  assert.equal((await labelsOf(await api.fetch("/", picture)))[0], "cat");
});

test("requests that cannot be answered are refused with a code, for clients of Hugging Face too", async () => {
  await using api = await TestApi.open({ models: BOTH, settings: { bodyLimit: 100_000 } });
  await using roomy = await TestApi.open({ worker: false });
  const text = (body: unknown) => api.post("/models/tiny-sentiment", body).then(refusalOf);
  const send = (path: string, type: string, body: string | Buffer) =>
    api.fetch(path, { method: "POST", headers: { "content-type": type }, body }).then(refusalOf);
  const codeOf = ([status, code]: readonly [number, string, string]) => [status, code];
  assert.deepEqual(await text({ inputs: GOOD, parameters: { function_to_apply: "none" } }), [
    ...[400, "REQUEST_INVALID"],
    "parameters.function_to_apply: expected softmax: the logits are not kept, so sigmoid and none are not available",
  ]);
  for (const body of [{ inputs: GOOD, stream: true }, { inputs: GOOD, parameters: { top_k: 0 } }, { text: GOOD }, []])
    assert.deepEqual(codeOf(await text(body)), [400, "REQUEST_INVALID"]);
  assert.deepEqual(codeOf(await send("/models/tiny-sentiment", "application/json", "{")), [400, "REQUEST_INVALID"]);
  assert.deepEqual(codeOf(await send("/models/tiny-sentiment", "image/png", "abc")), [400, "REQUEST_INVALID"]);
  assert.deepEqual(codeOf(await text({ inputs: " " })), [422, "EMPTY_TEXT"]);
  const [, , second] = await text({ inputs: [GOOD, ""] });
  assert.match(second, /^inputs\[1\]: /);
  assert.deepEqual(codeOf(await send("/models/tiny-image", "image/jpeg", "no picture")), [422, "IMAGE_INVALID"]);
  assert.deepEqual(codeOf(await send("/models/tiny-image", "image/jpeg", "")), [400, "REQUEST_INVALID"]);
  const large = Buffer.alloc(100_001, 1);
  assert.deepEqual(codeOf(await send("/models/tiny-image", "image/jpeg", large)), [413, "BODY_TOO_LARGE"]);
  const long = await roomy.post("/", { inputs: Array(50).fill("x".repeat(20_000)) }).then(refusalOf);
  assert.deepEqual(codeOf(long), [413, "BODY_TOO_LARGE"]);
  assert.deepEqual(codeOf(await api.post("/models/none/such", { inputs: GOOD }).then(refusalOf)), [404, "NO_WORKER"]);
});

test("past its wait a request gets 503 with Retry-After, and leaves nothing in the queue", async () => {
  await using api = await TestApi.open({ worker: false, settings: { requestWait: "200ms" } });
  const response = await api.post("/", { inputs: GOOD });
  assert.equal(response.headers.get("retry-after"), "5");
  const body = (await response.clone().json()) as { estimated_time: number };
  assert.equal(body.estimated_time, 5);
  assert.deepEqual((await refusalOf(response)).slice(0, 2), [503, "WAIT_EXCEEDED"]);
  assert.equal(await queued(api), 0);
});

test("a caller that waits for the model gets labels from a worker that starts later", async () => {
  await using api = await TestApi.open({ worker: false, settings: { requestWait: "100ms" } });
  const byHeader = api.post("/", { inputs: GOOD }, { "x-wait-for-model": "true" });
  const byOption = api.post("/", { inputs: BAD, options: { wait_for_model: true, use_cache: false } });
  assert.deepEqual((await refusalOf(await api.post("/", { inputs: GOOD }))).slice(0, 2), [503, "WAIT_EXCEEDED"]);
  await api.pipeline.worker({ threads: 1 });
  assert.deepEqual(await labelsOf(await byHeader, "texts"), [["POSITIVE", "NEGATIVE"]]);
  assert.deepEqual(await labelsOf(await byOption, "texts"), [["NEGATIVE", "POSITIVE"]]);
});

test("the job of a caller that leaves is taken out of the queue", async () => {
  await using api = await TestApi.open({ worker: false });
  const sent = request(`${api.url}/`, { method: "POST", headers: { "content-type": "application/json" } });
  sent.on("error", () => {});
  sent.end(JSON.stringify({ inputs: GOOD }));
  while ((await queued(api)) === 0);
  sent.destroy();
  while ((await queued(api)) > 0);
});

test("a stopping server answers a caller that waits, at the end of its grace period", async () => {
  await using api = await TestApi.open({ worker: false, settings: { graceMs: 200 } });
  const waiting = api.post("/", { inputs: GOOD }, { "x-wait-for-model": "true" });
  while ((await queued(api)) === 0);
  api.stop();
  assert.deepEqual((await refusalOf(await waiting)).slice(0, 2), [503, "STOPPING"]);
});

/** The number of jobs that wait for a worker. */
async function queued(api: TestApi): Promise<number> {
  const queue = openQueue(api.deps.redis, queueName(api.deps.models.default().pin, "interactive"));
  try {
    return await queue.getWaitingCount();
  } finally {
    await queue.close();
  }
}
