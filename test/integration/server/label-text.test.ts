import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { TestApi } from "../../helpers/servers/api.ts";
import { problem } from "../../helpers/servers/problem.ts";

type Json = Record<string, unknown>;
const TEXTS = { items: ["good and great", { id: "b", text: "a bad, awful film", input: { n: 1 } }] };

async function jsonOf(response: Response): Promise<Json> {
  return (await response.json()) as Json;
}

const brief = (rows: unknown) =>
  (rows as { id: string; label?: string; error?: { code: string }; input?: unknown }[]).map(
    ({ id, label, error, input }) => [id, label ?? error?.code, ...(input ? [input] : [])],
  );

test("texts are accepted, and their rows and end can be read", async () => {
  await using api = await TestApi.open();
  const accepted = await api.post("/v1/label/text", TEXTS);
  assert.equal(accepted.status, 202);
  const { run, state, url } = await jsonOf(accepted);
  assert.deepEqual([state, url, accepted.headers.get("location")], ["queued", `/v1/runs/${run}`, url]);
  assert.equal(accepted.headers.get("preference-applied"), null);
  const events = await api.fetch(`${url}/events`);
  assert.equal(events.headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.match(await events.text(), /\nevent: end\ndata: \{.*"state":"succeeded"/);
  const read = await jsonOf(await api.fetch(url as string));
  assert.deepEqual([read.state, read.kind, read.rows, read.errors], ["succeeded", "single", 2, 0]);
  const rows = await api.fetch(`${url}/rows`);
  assert.deepEqual([rows.headers.get("content-type"), rows.headers.get("link")], ["application/jsonl", null]);
  const lines = (await rows.text()).trimEnd().split("\n");
  assert.deepEqual(brief(lines.map((line) => JSON.parse(line))), [
    ["#0", "POSITIVE"],
    ["b", "NEGATIVE", { n: 1 }],
  ]);
  const { runs } = await jsonOf(await api.fetch("/v1/runs"));
  assert.deepEqual(
    (runs as Json[]).map((each) => [each.run, each.state]),
    [[run, "succeeded"]],
  );
  // Nothing is left of the journal.
  const names = await readdir(join(api.pipeline.folder, "output"), { recursive: true });
  assert.deepEqual(
    names.filter((name) => name.endsWith(".json")),
    [],
  );
});

test("Prefer: wait answers with the rows, or with 202 if the time is over", async () => {
  await using api = await TestApi.open();
  const answer = await api.post("/v1/label/text", { ...TEXTS, topK: 1 }, { prefer: "wait=20" });
  assert.deepEqual([answer.status, answer.headers.get("preference-applied")], [200, "wait=20"]);
  const body = await jsonOf(answer);
  assert.deepEqual(
    [body.state, body.rows, brief(body.items)],
    [
      "succeeded",
      2,
      [
        ["#0", "POSITIVE"],
        ["b", "NEGATIVE", { n: 1 }],
      ],
    ],
  );
  await using idle = await TestApi.open({ worker: false });
  const late = await idle.post("/v1/label/text", TEXTS, { prefer: "wait=1" });
  assert.deepEqual([late.status, late.headers.get("preference-applied")], [202, "wait=1"]);
  const { url } = await jsonOf(late);
  assert.equal((await jsonOf(await idle.fetch(url as string))).state, "queued");
  const rows = await idle.fetch(`${url}/rows`);
  const [link, cursor] = [rows.headers.get("link"), rows.headers.get("labelmill-next-cursor")];
  assert.deepEqual([await rows.text(), link], ["", `<${url}/rows?cursor=${cursor}&limit=1000>; rel="next"`]);
});

test("a bad text costs its own row", async () => {
  await using api = await TestApi.open();
  const body = { items: ["", "fine", { id: "", text: "  " }, "\ud800 good"] };
  const answer = await jsonOf(await api.post("/v1/label/text", body, { prefer: "wait=20" }));
  assert.deepEqual(
    [answer.state, brief(answer.items)],
    [
      "finished_with_errors",
      [
        ["#0", "EMPTY_TEXT"],
        ["#1", "POSITIVE"],
        ["", "EMPTY_TEXT"],
        ["#3", "POSITIVE"],
      ],
    ],
  );
});

test("a bad request is refused before anything is queued", async () => {
  await using api = await TestApi.open({ models: ["tiny-sentiment", "tiny-image"] });
  const post = (body: unknown, headers?: Record<string, string>) => api.post("/v1/label/text", body, headers);
  const cases: [body: unknown, status: number, code: string, headers?: Record<string, string>][] = [
    [{}, 400, "REQUEST_INVALID"],
    [{ items: [] }, 400, "REQUEST_INVALID"],
    [{ items: ["a"], other: 1 }, 400, "REQUEST_INVALID"],
    [{ items: [{ text: "a", image: "b" }] }, 400, "REQUEST_INVALID"],
    [{ items: [1] }, 400, "REQUEST_INVALID"],
    [{ items: Array(501).fill("a") }, 400, "REQUEST_INVALID"],
    [{ items: ["a"], topK: 0 }, 400, "REQUEST_INVALID"],
    [{ items: ["a"], lane: "fast" }, 400, "REQUEST_INVALID"],
    [{ items: ["a"], results: [{ to: "nowhere" }] }, 400, "REQUEST_INVALID"],
    [{ items: ["a".repeat(600_000), "b".repeat(600_000)] }, 413, "BODY_TOO_LARGE"],
    [{ items: ["a"], model: "no-such-model" }, 404, "NO_WORKER"],
    [{ items: ["a"], model: "tiny-image" }, 422, "MODEL_INVALID"],
    [{ items: ["a"] }, 400, "REQUEST_INVALID", { "idempotency-key": "x".repeat(256) }],
  ];
  for (const [body, status, code, headers] of cases)
    await problem(await post(body, headers), status, code, JSON.stringify(body).slice(0, 80));
  const malformed = { method: "POST", headers: { "content-type": "application/json" }, body: '{"items": [' };
  await problem(await api.fetch("/v1/label/text", malformed), 400, "REQUEST_INVALID");
  const plain = { method: "POST", headers: { "content-type": "text/plain" }, body: "a" };
  await problem(await api.fetch("/v1/label/text", plain), 415, "CONTENT_TYPE");
  for (const path of [
    "/v1/runs/0000000000000000",
    "/v1/runs/0000000000000000/rows",
    "/v1/runs/0000000000000000/events",
  ])
    await problem(await api.fetch(path), 404, "RUN_UNKNOWN");
  await problem(await api.fetch("/v1/runs/xyz"), 400, "REQUEST_INVALID");
  assert.deepEqual(await jsonOf(await api.fetch("/v1/runs")), { runs: [] });
});

test("an Idempotency-Key gives one run: two at once, again later, and another body is refused", async () => {
  await using api = await TestApi.open();
  const post = (body: unknown, key = "order-1") => api.post("/v1/label/text", body, { "idempotency-key": key });
  const both = await Promise.all([post(TEXTS), post(TEXTS), post(TEXTS)]);
  const runs = await Promise.all(both.map(async (each) => (await jsonOf(each)).run));
  assert.deepEqual([both.map(({ status }) => status), new Set(runs).size], [[202, 202, 202], 1]);
  await (await api.fetch(`/v1/runs/${runs[0]}/events`)).text();
  assert.equal((await jsonOf(await post(TEXTS))).run, runs[0], "after the end");
  const waited = await api.post("/v1/label/text", TEXTS, { "idempotency-key": "order-1", prefer: "wait=20" });
  const { run, items } = await jsonOf(waited);
  assert.deepEqual([waited.status, run, (items as []).length], [200, runs[0], 2]);
  await problem(await post({ items: ["other"] }), 422, "IDEMPOTENCY_CONFLICT");
  assert.notEqual((await jsonOf(await post(TEXTS, "order-2"))).run, runs[0]);
  const { runs: listed } = (await jsonOf(await api.fetch("/v1/runs"))) as { runs: Json[] };
  assert.equal(listed.length, 2);
});
