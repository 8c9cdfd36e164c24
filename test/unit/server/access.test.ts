import assert from "node:assert/strict";
import { test } from "node:test";
import type { FastifyRequest } from "fastify";
import { createLogger } from "../../../src/logger.ts";
import { Access, isLoopback } from "../../../src/server/access.ts";
import { mayRead, type Scope } from "../../../src/server/caller.ts";
import { hashOfKey } from "../../../src/server/keys/key.ts";
import { KeyRing } from "../../../src/server/keys/key-ring.ts";
import { KeyStore } from "../../../src/server/keys/key-store.ts";
import { Problem } from "../../../src/server/problems.ts";
import { MemoryStore } from "../../../src/storage/memory.ts";

const log = createLogger("silent", false);
let stores = 0;

/** An access over a new state store with these keys. */
async function open(host: string, keys: Record<string, Scope[]> = {}, bootstrapSha256?: string) {
  const state = new MemoryStore(`access-${stores++}`);
  const made = new Map<string, { key: string; id: string }>();
  for (const [name, scopes] of Object.entries(keys)) {
    const { key, record } = await KeyStore.create(state, { name, scopes });
    made.set(name, { key, id: record.id });
  }
  const ring = await KeyRing.open({ store: new KeyStore(state), log, ...(bootstrapSha256 ? { bootstrapSha256 } : {}) });
  return { access: new Access(host, ring), made, [Symbol.dispose]: () => ring.close() };
}

type Headers = Record<string, string>;

function request(headers: Headers, scope: Scope | null | undefined = "submit"): FastifyRequest {
  return { headers: { host: "localhost:8080", ...headers }, routeOptions: { config: { scope } } } as FastifyRequest;
}

function refusal(status: number, code: string) {
  return (error: unknown) => error instanceof Problem && error.status === status && error.code === code;
}

test("loopback addresses are those that only this machine can reach", () => {
  for (const host of ["localhost", "LOCALHOST", "127.0.0.1", "127.9.8.7", "::1", "[::1]", "::ffff:127.0.0.1"])
    assert.ok(isLoopback(host), host);
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example", "127.1", ""])
    assert.ok(!isLoopback(host), host);
});

test("on loopback without a key on record, any program may do everything", async () => {
  using open1 = await open("127.0.0.1");
  const caller = await open1.access.callerOf(request({ authorization: "Bearer something" }, "admin"));
  assert.deepEqual([caller.owner, caller.key, caller.scopes.has("admin")], ["-", undefined, true]);
});

test("beyond loopback, a server without a key on record refuses every request", async () => {
  for (const host of ["0.0.0.0", "::", "labels.example"]) {
    using opened = await open(host);
    for (const headers of [
      {},
      { authorization: "Bearer lm_00000000_x" },
      { "x-forwarded-for": "127.0.0.1" },
    ] as Headers[])
      for (const scope of ["read", "submit", "admin", undefined] as const)
        await assert.rejects(opened.access.callerOf(request(headers, scope)), refusal(401, "UNAUTHORIZED"));
  }
});

test("on loopback with a key on record, also a revoked one, requests need a key", async () => {
  const state = new MemoryStore(`access-${stores++}`);
  const { record } = await KeyStore.create(state, { name: "", scopes: ["submit"] });
  await KeyStore.revoke(state, record.id);
  const ring = await KeyRing.open({ store: new KeyStore(state), log });
  await assert.rejects(new Access("localhost", ring).callerOf(request({})), refusal(401, "UNAUTHORIZED"));
  ring.close();
});

test("a key opens the routes of its scopes, by either header", async () => {
  using opened = await open("0.0.0.0", { submitter: ["submit"], reader: ["read"], admin: ["admin"] });
  const allowed: Record<string, Scope[]> = {
    submitter: ["submit", "read"],
    reader: ["read"],
    admin: ["submit", "read", "admin"],
  };
  for (const [name, { key, id }] of opened.made)
    for (const scope of ["submit", "read", "admin"] as const)
      for (const headers of [
        { authorization: `Bearer ${key}` },
        { authorization: `bearer  ${key}` },
        { "x-api-key": key },
      ] as Headers[]) {
        const call = opened.access.callerOf(request(headers, scope));
        if (allowed[name]!.includes(scope)) assert.deepEqual([(await call).owner, (await call).key], [id, id]);
        else await assert.rejects(call, refusal(403, "FORBIDDEN"));
      }
});

test("a wrong key is refused, whatever is wrong with it", async () => {
  using opened = await open("0.0.0.0", { a: ["submit"] });
  const { key } = opened.made.get("a")!;
  const other = key.endsWith("A") ? "B" : "A";
  for (const wrong of [
    `${key}A`,
    key.slice(0, -1),
    key.slice(0, -1) + other,
    key.toUpperCase(),
    "lm_",
    "x".repeat(600),
  ])
    await assert.rejects(
      opened.access.callerOf(request({ authorization: `Bearer ${wrong}` })),
      refusal(401, "UNAUTHORIZED"),
    );
  await assert.rejects(
    opened.access.callerOf(request({ authorization: `Basic ${key}` })),
    refusal(401, "UNAUTHORIZED"),
  );
});

test("the bootstrap key has all scopes, and requires keys on loopback too", async () => {
  using opened = await open("127.0.0.1", {}, hashOfKey("a first key"));
  const caller = await opened.access.callerOf(request({ "x-api-key": "a first key" }, "admin"));
  assert.deepEqual([caller.owner, caller.key], ["bootstrap", "bootstrap"]);
  await assert.rejects(opened.access.callerOf(request({})), refusal(401, "UNAUTHORIZED"));
  await assert.rejects(opened.access.callerOf(request({ "x-api-key": "another key" })), refusal(401, "UNAUTHORIZED"));
});

test("without keys, requests of proxies and web pages are refused: other names of this machine, and other sites", async () => {
  using opened = await open("127.0.0.1");
  const refused: Headers[] = [
    { host: "attacker.example:8080" },
    { host: "attacker.example" },
    { host: "localhost.attacker.example" },
    { host: "localhost@attacker.example" },
    { host: "attacker.example@localhost" },
    { host: "" },
    { origin: "http://attacker.example" },
    { origin: "null" },
    { "x-forwarded-for": "127.0.0.1" },
    { forwarded: "for=127.0.0.1" },
    { origin: "http://localhost:3000" },
    { origin: "https://localhost:8080" },
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
  ];
  for (const headers of refused)
    for (const scope of ["submit", "read", null, undefined] as const)
      await assert.rejects(
        opened.access.callerOf(request(headers, scope)),
        refusal(403, "FORBIDDEN"),
        JSON.stringify(headers),
      );
  for (const headers of [
    {},
    { host: "127.0.0.1:8080" },
    { host: "[::1]:8080" },
    { host: "LOCALHOST" },
    { origin: "http://localhost:8080", "sec-fetch-site": "same-origin" },
    { "sec-fetch-site": "none" },
  ] as Headers[])
    assert.equal((await opened.access.callerOf(request(headers))).owner, "-");
});

test("a caller knows its own runs, and an administrator all of them", () => {
  const caller = { owner: "a", scopes: new Set(["submit"] as const) };
  assert.deepEqual([mayRead(caller, "a"), mayRead(caller, "b"), mayRead(caller, "-")], [true, false, false]);
  assert.ok(mayRead({ owner: "b", scopes: new Set(["admin"] as const) }, "a"));
});
