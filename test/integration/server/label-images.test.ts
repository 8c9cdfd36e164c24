import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { TestApi } from "../../helpers/servers/api.ts";
import { problem } from "../../helpers/servers/problem.ts";

type Json = Record<string, unknown>;
type Rows = { id: string; label?: string; error?: { code: string }; input?: unknown; source: Json }[];

const EXAMPLES = join(import.meta.dirname, "../../../examples/images");
const FROG = await readFile(join(EXAMPLES, "frog-on-forest-floor.jpg"));
const SHIP = await readFile(join(EXAMPLES, "ship-sailing-boat.jpg"));
const WAIT = { prefer: "wait=30" };
const OPTIONS = { models: ["tiny-image", "tiny-sentiment"] };

const verdicts = (rows: unknown) => (rows as Rows).map(({ id, label, error }) => [id, label ?? error?.code]);

async function jsonOf(response: Response): Promise<Json> {
  return (await response.json()) as Json;
}

function upload(api: TestApi, files: [name: string, bytes: Uint8Array][], fields: Json = {}, headers: Json = WAIT) {
  const body = new FormData();
  const [first, ...rest] = Object.entries(fields);
  if (first) body.set(first[0], String(first[1]));
  for (const [name, bytes] of files) body.append("images", new Blob([new Uint8Array(bytes)]), name);
  // Fields may come after files.
  for (const [name, value] of rest) body.set(name, String(value));
  return api.fetch("/v1/label/images", { method: "POST", headers: headers as Record<string, string>, body });
}

async function uploaded(api: TestApi): Promise<string[]> {
  const names = await readdir(join(api.pipeline.folder, "output"), { recursive: true });
  return names.filter((name) => /^_uploads\/.*\/\d{4}$/.test(name));
}

test("images as base64, data URLs and references are labeled, and one that is none costs its own row", async () => {
  await using api = await TestApi.open(OPTIONS);
  const reference = pathToFileURL(join(EXAMPLES, "cat-grey-tabby.jpg")).href;
  const items = [
    { id: "frog", data: FROG.toString("base64"), input: { sku: 7 } },
    `data:image/jpeg;base64,${SHIP.toString("base64url")}`,
    { id: "none", data: Buffer.from("this is no image").toString("base64") },
    { id: "private", image: "http://127.0.0.1/a.jpg" },
    { id: "file", image: reference },
  ];
  const answer = await api.post("/v1/label/images", { items, topK: 2 }, WAIT);
  assert.equal(answer.status, 200);
  const body = await jsonOf(answer);
  assert.deepEqual(verdicts(body.items), [
    ["frog", "frog"],
    ["#1", "ship"],
    ["none", "IMAGE_INVALID"],
    ["private", "URL_REFUSED"],
    // The worker was granted the folder of the test, not that of the examples.
    ["file", "NOT_GRANTED"],
  ]);
  assert.deepEqual([(body.items as Rows)[0]!.input, body.errors], [{ sku: 7 }, 3]);
  assert.deepEqual(
    await uploaded(api),
    ["0000", "0001", "0002"].map((name) => `_uploads/${body.run}/${name}`),
  );
});

test("an upload of files is stored and labeled, with fields before and after the files", async () => {
  await using api = await TestApi.open(OPTIONS);
  const files: [string, Uint8Array][] = [
    ["frog.jpg", FROG],
    ["../ship.jpg", SHIP],
    ["none.jpg", Buffer.from("no image")],
  ];
  const answer = await upload(api, files, { topK: 3, model: "tiny-image" });
  assert.equal(answer.status, 200);
  const body = await jsonOf(answer);
  const [[first, ...others]] = [verdicts(body.items)];
  assert.deepEqual(first, ["frog.jpg", "frog"]);
  assert.deepEqual(
    others.map(([, label]) => label),
    ["ship", "IMAGE_INVALID"],
  );
  assert.deepEqual(
    await uploaded(api),
    ["0000", "0001", "0002"].map((name) => `_uploads/${body.run}/${name}`),
  );
});

test("a worker that may only write an output reads the uploads in it, and nothing else", async () => {
  await using api = await TestApi.open({ ...OPTIONS, worker: false });
  const output = join(api.pipeline.folder, "output");
  const roots = { files: [], s3: [], outputs: [] };
  await api.pipeline.worker({ outputRoots: [output] }, { models: ["tiny-image"], roots });
  const body = await jsonOf(await upload(api, [["frog.jpg", FROG]]));
  assert.deepEqual(verdicts(body.items), [["frog.jpg", "frog"]]);
  const producer = await api.pipeline.producer({ output: api.deps.store.uri });
  const frog = pathToFileURL(join(EXAMPLES, "frog-on-forest-floor.jpg")).href;
  const images = [`${api.deps.store.uri}single-${body.run}.jsonl`, frog];
  const other = await producer.submit({ model: "tiny-image", images });
  assert.deepEqual(verdicts(await Array.fromAsync(other.rows())), [
    ["#0", "NOT_GRANTED"],
    ["#1", "NOT_GRANTED"],
  ]);
});

test("a repeated upload with an Idempotency-Key gives the same run", async () => {
  await using api = await TestApi.open(OPTIONS);
  const headers = { ...WAIT, "idempotency-key": "photos-1" };
  const runs = new Set<unknown>();
  for (let i = 0; i < 2; i++) runs.add((await jsonOf(await upload(api, [["frog.jpg", FROG]], {}, headers))).run);
  assert.equal(runs.size, 1, "the boundary of a body does not count");
  await problem(await upload(api, [["frog.jpg", SHIP]], {}, headers), 422, "IDEMPOTENCY_CONFLICT");
  await problem(await upload(api, [["ship.jpg", FROG]], {}, headers), 422, "IDEMPOTENCY_CONFLICT");
  assert.equal((await uploaded(api)).length, 2, "the uploads of refused requests are removed");
});

test("a bad upload is refused before anything is queued, and leaves no file", async () => {
  await using api = await TestApi.open({ ...OPTIONS, settings: { bodyLimit: 200_000 } });
  await problem(await upload(api, []), 400, "REQUEST_INVALID");
  await problem(
    await upload(api, [
      ["frog.jpg", FROG],
      ["empty.jpg", new Uint8Array()],
    ]),
    400,
    "REQUEST_INVALID",
  );
  await problem(await upload(api, [["frog.jpg", FROG]], { other: 1 }), 400, "REQUEST_INVALID");
  await problem(await upload(api, [["frog.jpg", FROG]], { topK: 0 }), 400, "REQUEST_INVALID");
  await problem(await upload(api, [["frog.jpg", FROG]], { results: "{" }), 400, "REQUEST_INVALID");
  await problem(await upload(api, [["frog.jpg", FROG]], { model: "no-such-model" }), 404, "NO_WORKER");
  await problem(await upload(api, [["frog.jpg", FROG]], { model: "tiny-sentiment" }), 422, "MODEL_INVALID");
  await problem(
    await upload(api, [
      ["frog.jpg", FROG],
      ["big.jpg", Buffer.alloc(300_000)],
    ]),
    413,
    "BODY_TOO_LARGE",
  );
  const cut = {
    method: "POST",
    headers: { "content-type": "multipart/form-data; boundary=x" },
    body: '--x\r\ncontent-disposition: form-data; name="images"; filename="a.jpg"\r\n\r\nabc',
  };
  await problem(await api.fetch("/v1/label/images", cut), 400, "REQUEST_INVALID");
  const many: [string, Uint8Array][] = Array.from({ length: 501 }, (_, i) => [`${i}.jpg`, Buffer.from("x")]);
  await problem(await upload(api, many), 400, "REQUEST_INVALID");
  for (const items of [
    [{ data: "" }],
    [{ data: "===" }],
    [{ data: "a" }],
    ["data:image/png,abc"],
    [{ image: "x".repeat(9000) }],
  ])
    await problem(
      await api.post("/v1/label/images", { items }),
      400,
      "REQUEST_INVALID",
      JSON.stringify(items).slice(0, 40),
    );
  assert.deepEqual([await uploaded(api), await jsonOf(await api.fetch("/v1/runs"))], [[], { runs: [] }]);
});

test("a request without a body and a content type is refused", async () => {
  await using api = await TestApi.open({ ...OPTIONS, worker: false });
  await problem(await api.fetch("/v1/label/images", { method: "POST" }), 400, "REQUEST_INVALID", "no body");
});

test("a request cannot name what the server stores for others", async () => {
  await using api = await TestApi.open(OPTIONS);
  const first = await jsonOf(await upload(api, [["frog.jpg", FROG]]));
  const output = api.deps.store.uri;
  for (const image of [
    `${output}_uploads/${first.run}/0000`,
    `${output}x/../_uploads/${first.run}/0000`,
    `${api.deps.state.uri}server-secret.json`,
  ])
    await problem(
      await api.post("/v1/label/images", { items: ["https://example.com/a.jpg", image] }),
      422,
      "NOT_GRANTED",
      image,
    );
});
