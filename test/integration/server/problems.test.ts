import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { LabelmillError } from "../../../src/errors.ts";
import { buildApp } from "../../../src/server/app.ts";
import type { App } from "../../../src/server/deps.ts";
import { LogLines } from "../../helpers/log-lines.ts";
import { TestApi } from "../../helpers/servers/api.ts";

const ProbeSchema = z.strictObject({ text: z.string().max(10) });
const SECRET = "the content of a text";

/** A server with one more route, which throws the error that the text selects. */
async function openProbe(api: TestApi, log = api.deps.log): Promise<App> {
  const app = buildApp({ ...api.deps, log });
  app.register(async (routes) => {
    (routes as App).post("/probe", { config: { scope: "submit" }, schema: { body: ProbeSchema } }, async ({ body }) => {
      if (body.text === "labelmill") throw new LabelmillError("NO_WORKER", "no worker");
      if (body.text === "json") JSON.parse(SECRET);
      throw new TypeError("x is not a function");
    });
  });
  await app.ready();
  return app;
}

const JSON_TYPE = { "content-type": "application/json" };

test("each invalid request gets its status and a problem document with a code", async () => {
  await using api = await TestApi.open({ worker: false, settings: { bodyLimit: 1000 } });
  const app = await openProbe(api);
  const cases: [init: object, status: number, code: string, detail: RegExp][] = [
    [{ headers: JSON_TYPE, payload: "{" }, 400, "REQUEST_INVALID", /^expected JSON in the body/],
    [{ headers: JSON_TYPE, payload: "" }, 400, "REQUEST_INVALID", /empty body/],
    [{ headers: JSON_TYPE, payload: '{"__proto__":1}' }, 400, "REQUEST_INVALID", /./],
    [{ headers: JSON_TYPE, payload: "{}" }, 400, "REQUEST_INVALID", /^text: /],
    [{ headers: JSON_TYPE, payload: "[]" }, 400, "REQUEST_INVALID", /^body: /],
    [{ headers: JSON_TYPE, payload: { text: "a", other: 1 } }, 400, "REQUEST_INVALID", /"other"/],
    [{ headers: JSON_TYPE, payload: { text: `${SECRET}${SECRET}` } }, 400, "REQUEST_INVALID", /^text: /],
    [{ headers: JSON_TYPE, payload: { text: "a".repeat(2000) } }, 413, "BODY_TOO_LARGE", /larger/],
    [{ headers: { "content-type": "text/plain" }, payload: "{}" }, 415, "CONTENT_TYPE", /application\/json/],
    [{ headers: { "content-type": "application/x-www-form-urlencoded" }, payload: "a=1" }, 415, "CONTENT_TYPE", /./],
    [{ headers: {}, payload: Buffer.from("{}") }, 415, "CONTENT_TYPE", /./],
    [{ headers: JSON_TYPE, payload: { text: "labelmill" } }, 404, "NO_WORKER", /^no worker$/],
    [{ headers: JSON_TYPE, payload: { text: "unexpected" } }, 500, "INTERNAL", /^an unexpected error/],
    [{ url: "/%zz" }, 400, "REQUEST_INVALID", /escape/],
    [{ url: "/probe/x" }, 404, "ROUTE_NOT_FOUND", /./],
    // Without a route, the method and the path decide, whatever else is wrong.
    [{ url: "/probe/x", headers: JSON_TYPE, payload: "{" }, 404, "ROUTE_NOT_FOUND", /./],
    [{ method: "QUERY" as "POST", payload: "x" }, 405, "METHOD_NOT_ALLOWED", /POST, got QUERY/],
    [{ method: "PUT", headers: JSON_TYPE, payload: "{}" }, 405, "METHOD_NOT_ALLOWED", /POST, got PUT/],
  ];
  for (const [init, status, code, detail] of cases) {
    const response = await app.inject({ method: "POST", url: "/probe", ...init });
    const body = response.json();
    assert.deepEqual([response.statusCode, body.code, body.status], [status, code, status], JSON.stringify(init));
    assert.match(body.detail, detail);
    assert.match(response.headers["content-type"]!, /^application\/problem\+json/);
    assert.ok(!response.body.includes(SECRET));
  }
  await app.close();
});

test("an unexpected error is logged with its stack, and without the content that a parser repeats", async () => {
  await using api = await TestApi.open({ worker: false });
  const lines = new LogLines();
  const app = await openProbe(api, lines.log);
  for (const text of ["json", "other"]) {
    const response = await app.inject({ method: "POST", url: "/probe", headers: JSON_TYPE, payload: { text } });
    assert.equal(response.json().code, "INTERNAL");
  }
  const failed = lines.lines.filter(({ msg }) => msg === "request failed");
  assert.deepEqual(
    failed.map(({ method, route }) => [method, route]),
    [
      ["POST", "/probe"],
      ["POST", "/probe"],
    ],
  );
  assert.match(String(failed[0]!.stack), /at JSON\.parse/);
  assert.ok(!JSON.stringify(failed).includes(SECRET));
  await app.close();
});
