import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../../../src/config.ts";
import { planFromRunFile } from "../../../src/producers/planning/plan-from-run-file.ts";
import { SingleEnds } from "../../../src/runs/single-results.ts";
import type { Scope } from "../../../src/server/caller.ts";
import { writeTexts } from "../../helpers/runs/pipeline.ts";
import { TestApi } from "../../helpers/servers/api.ts";
import { problem } from "../../helpers/servers/problem.ts";

type Json = Record<string, unknown>;

const KEYS: Record<string, Scope[]> = { one: ["submit"], two: ["submit"], reader: ["read"], boss: ["admin"] };

async function jsonOf(response: Response): Promise<Json> {
  return (await response.json()) as Json;
}

/** A server whose workers were granted the folder of the test. */
async function openApi(settings: Partial<Config> = {}): Promise<{ api: TestApi; texts: string } & AsyncDisposable> {
  const api = await TestApi.open({ worker: false, keys: KEYS, settings: { sharedFiles: true, ...settings } });
  const texts = await writeTexts(join(api.pipeline.folder, "texts.csv"), 230);
  return { api, texts, [Symbol.asyncDispose]: () => api[Symbol.asyncDispose]() };
}

function act(api: TestApi, url: unknown, action: string, name = "one"): Promise<Response> {
  return api.fetch(`${url}/${action}`, { method: "POST", headers: api.as(name) });
}

/** Reads all rows by pages. @returns the ids of the rows, and the number of pages */
async function allRows(api: TestApi, run: unknown, limit: number): Promise<{ ids: string[]; pages: number }> {
  const ids: string[] = [];
  let pages = 0;
  for (let path: string | undefined = `/v1/runs/${run}/rows?limit=${limit}`; path !== undefined; ) {
    const response = await api.fetch(path, { headers: api.as("one") });
    assert.equal(response.status, 200);
    const lines = (await response.text()).split("\n").filter(Boolean);
    assert.ok(lines.length <= limit);
    ids.push(...lines.map((line) => JSON.parse(line).id as string));
    pages += 1;
    path = /^<([^>]+)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
  }
  return { ids, pages };
}

async function ended(api: TestApi, run: unknown): Promise<Json> {
  const events = await api.fetch(`/v1/runs/${run}/events`, { headers: api.as("one") });
  const data = /event: end\ndata: (.*)\n/.exec(await events.text())?.[1];
  return JSON.parse(data!) as Json;
}

const expectedIds = Array.from({ length: 230 }, (_, i) => String(i));

test("a spec is submitted, labeled and read by pages, and only its key and admin know of it", async () => {
  await using opened = await openApi();
  const { api, texts } = opened;
  await api.pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const spec = { kind: "text", inputs: [texts], idColumn: "id", sliceItems: 20 };
  const submitted = await api.post("/v1/runs", spec, api.as("one"));
  assert.equal(submitted.status, 202);
  const { run, url, kind } = await jsonOf(submitted);
  assert.deepEqual([kind, submitted.headers.get("location")], ["run", url]);
  const end = await ended(api, run);
  assert.deepEqual([end.state, end.rows, end.planned, end.errors], ["succeeded", 230, 230, 0]);
  assert.deepEqual(await allRows(api, run, 64), { ids: expectedIds, pages: 4 });
  assert.deepEqual(await allRows(api, run, 230), { ids: expectedIds, pages: 1 });
  const get = (name: string, path = url as string) => api.fetch(path, { headers: api.as(name) });
  for (const path of [url, `${url}/rows`, `${url}/events`]) {
    for (const name of ["two", "reader"]) await problem(await get(name, path as string), 404, "RUN_UNKNOWN");
    assert.equal((await get("boss", path as string)).status, 200);
  }
  for (const action of ["cancel", "pause", "resume", "retry-errors"])
    await problem(await act(api, url, action, "two"), 404, "RUN_UNKNOWN", action);
  await problem(await api.post("/v1/runs", spec, api.as("reader")), 403, "FORBIDDEN");
  const listOf = async (name: string) =>
    ((await jsonOf(await get(name, "/v1/runs"))).runs as Json[]).map((each) => each.run);
  assert.deepEqual([await listOf("one"), await listOf("two"), await listOf("boss")], [[run], [], [run]]);
  const cancelled = await jsonOf(await act(api, url, "cancel"));
  assert.deepEqual([cancelled.changed, cancelled.state], [false, "succeeded"]);
  await problem(await act(api, url, "retry-errors"), 400, "USAGE");
  await problem(await api.post(`${url}/cancel`, { why: "x" }, api.as("one")), 400, "REQUEST_INVALID");
  await problem(await get("one", `${url}/rows?cursor=x`), 400, "REQUEST_INVALID");
  await problem(await get("one", `${url}/rows?limit=0`), 400, "REQUEST_INVALID");
  const lastId = /id: (\S+)\nevent: end/.exec(await (await get("one", `${url}/events`)).text())![1]!;
  const again = await api.fetch(`${url}/events`, { headers: { ...api.as("one"), "last-event-id": lastId } });
  assert.equal(again.status, 204);
});

test("rows of every format of JSON lines come whole and in order", async () => {
  await using opened = await openApi();
  const { api, texts } = opened;
  await api.pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  for (const output of [{ compression: "gzip" }, { partitionBy: "label", errors: "apart" }]) {
    const spec = { kind: "text", inputs: [texts], idColumn: "id", sliceItems: 20, output };
    const { run } = await jsonOf(await api.post("/v1/runs", spec, api.as("one")));
    assert.equal((await ended(api, run)).state, "succeeded");
    assert.deepEqual(await allRows(api, run, 100), { ids: expectedIds, pages: 3 }, JSON.stringify(output));
  }
  const parquet = { kind: "text", inputs: [texts], output: { format: "parquet" } };
  const { run } = await jsonOf(await api.post("/v1/runs", parquet, api.as("one")));
  await ended(api, run);
  await problem(await api.fetch(`/v1/runs/${run}/rows`, { headers: api.as("one") }), 409, "RUN_FAILED");
});

test("a run is paused, resumed and cancelled, with its events", async () => {
  await using opened = await openApi();
  const { api, texts } = opened;
  const spec = { kind: "text", inputs: [texts], sliceItems: 20 };
  // No worker runs yet. The server's own grants decide.
  await problem(await api.post("/v1/runs", spec, api.as("one")), 422, "NOT_GRANTED");
  await using granted = await openApi();
  await granted.api.pipeline.worker({ threads: 1 }, {});
  const { run, url } = await jsonOf(
    await granted.api.post("/v1/runs", { ...spec, inputs: [granted.texts] }, granted.api.as("one")),
  );
  const post = (action: string) => act(granted.api, url, action).then(jsonOf);
  // The worker has no planner, so that the run stays in its state.
  assert.deepEqual([(await post("pause")).state, (await post("resume")).state], ["paused", "planning"]);
  const events = await granted.api.fetch(`${url}/events`, { headers: granted.api.as("one") });
  const read = events.text();
  assert.deepEqual([(await post("cancel")).changed, (await post("pause")).changed], [true, false]);
  assert.match(await read, /event: progress\n[\s\S]*event: end\ndata: .*"state":"cancelled"/);
  assert.equal((await ended(granted.api, run)).state, "cancelled");
  const single = await jsonOf(await granted.api.post("/v1/label/text", { items: ["a"] }, granted.api.as("one")));
  await problem(await act(granted.api, single.url, "cancel"), 409, "RUN_FAILED");
});

test("a bad spec is refused with its key, and nothing is queued", async () => {
  await using api = await TestApi.open();
  const inputs = ["/etc/hosts"];
  const cases: [spec: unknown, status: number, code: string, detail?: RegExp][] = [
    [{ kind: "text" }, 400, "SPEC_INVALID", /inputs/],
    [{ kind: "text", inputs, topk: 3 }, 400, "SPEC_INVALID", /did you mean "topK"/],
    [[], 400, "SPEC_INVALID"],
    ["text", 400, "SPEC_INVALID"],
    [{ kind: "text", inputs, model: "no-such-model" }, 404, "NO_WORKER"],
    [{ kind: "images", inputs }, 404, "MODEL_NOT_FOUND"],
    [{ kind: "text", inputs }, 422, "LOCAL_PATH_REMOTE_WORKER"],
    [{ kind: "text", inputs: ["s3://other/secret/"] }, 422, "NOT_GRANTED"],
    [{ kind: "text", inputs: ["-"] }, 400, "USAGE"],
  ];
  for (const [spec, status, code, detail = /./] of cases)
    assert.match(await problem(await api.post("/v1/runs", spec), status, code, JSON.stringify(spec)), detail);
  assert.deepEqual(await jsonOf(await api.fetch("/v1/runs")), { runs: [] });
});

test("two specs at once with one Idempotency-Key are one run", async () => {
  await using opened = await openApi();
  const { api, texts } = opened;
  await api.pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const spec = { kind: "text", inputs: [texts], idColumn: "id" };
  const headers = { ...api.as("one"), "idempotency-key": "nightly" };
  const both = await Promise.all([0, 1].map(() => api.post("/v1/runs", spec, headers).then(jsonOf)));
  assert.equal(both[0]!.run, both[1]!.run);
  assert.equal((await ended(api, both[0]!.run)).rows, 230);
  const other = await jsonOf(await api.post("/v1/runs", spec, { ...api.as("two"), "idempotency-key": "nightly" }));
  assert.notEqual(other.run, both[0]!.run, "the key of another caller is another key");
});

test("the failure of a single can be read, and its owner is known after Redis was lost", async () => {
  await using api = await TestApi.open({ worker: false, keys: KEYS });
  const as = api.as("one");
  const { run, url } = await jsonOf(await api.post("/v1/label/text", { items: ["a"] }, as));
  await api.deps.redis.flushall();
  const view = await jsonOf(await api.fetch(url as string, { headers: as }));
  assert.deepEqual([view.state, view.kind], ["queued", "single"]);
  await problem(await api.fetch(url as string, { headers: api.as("two") }), 404, "RUN_UNKNOWN");
  await api.deps.accepter.replay(new AbortController().signal);
  const { pin } = api.deps.models.default();
  const failed = { code: "JOB_INVALID", message: "expected another job" };
  await new SingleEnds(api.deps.redis).set({
    ...{
      v: 1,
      id: `${run}-0000000`,
      run: run as string,
      slice: 0,
      output: api.deps.store.uri,
      part: `single-${run}.jsonl`,
    },
    ...{ model: { id: pin.id, digest: pin.digest }, rows: 0, errors: 0, labels: {}, failed },
  });
  const end = await jsonOf(await api.fetch(url as string, { headers: as }));
  assert.deepEqual([end.state, end.failed], ["failed", failed], JSON.stringify(end));
  const rows = await api.fetch(`${url}/rows`, { headers: as });
  assert.deepEqual([await rows.text(), rows.headers.get("link")], ["", null]);
});

test("the rows in error of a run are labeled again as a new run of its owner", async () => {
  await using opened = await openApi();
  const { api } = opened;
  await api.pipeline.worker({ threads: 1 }, { plan: planFromRunFile });
  const inputs = [join(api.pipeline.folder, "some.csv")];
  await writeFile(inputs[0]!, "id,text\na,good\nb,\nc,bad\n");
  const first = await jsonOf(await api.post("/v1/runs", { kind: "text", inputs, idColumn: "id" }, api.as("one")));
  const end = await ended(api, first.run);
  assert.deepEqual([end.state, end.rows, end.errors], ["finished_with_errors", 3, 1]);
  const response = await act(api, first.url, "retry-errors");
  const retry = await jsonOf(response);
  assert.deepEqual([response.status, response.headers.get("location")], [202, retry.url]);
  assert.equal(retry.output, `${first.output}_retries/1/`);
  assert.deepEqual(
    [(await ended(api, retry.run)).rows, await allRows(api, retry.run, 10)],
    [1, { ids: ["b"], pages: 1 }],
  );
  await problem(await api.fetch(retry.url as string, { headers: api.as("two") }), 404, "RUN_UNKNOWN");
});
