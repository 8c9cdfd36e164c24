import assert from "node:assert/strict";
import { test } from "node:test";
import { connectRedis, describeAddress } from "../../../src/redis/connect.ts";
import { causeOf } from "../../../src/redis/connection-error.ts";

test("an address is shown without its password", () => {
  const shown: [string, string][] = [
    ["redis://localhost:6379", "redis://localhost:6379"],
    ["redis://localhost:6379/2", "redis://localhost:6379/2"],
    ["redis://:SECRET@localhost", "redis://:***@localhost"],
    ["rediss://ann:SECRET@db.example:6380", "rediss://ann:***@db.example:6380"],
    ["redis://SECRET@localhost", "redis://***@localhost"],
    ["redis://localhost?password=SECRET", "redis://localhost"],
    ["ann:SECRET@localhost:6379", "(not a URL)"],
    ["SECRET", "(not a URL)"],
    ["redis://ann:SECRET@", "(not a URL)"],
  ];
  for (const [url, expected] of shown) assert.equal(describeAddress({ url }), expected);
  assert.equal(describeAddress({ socket: "/run/redis.sock" }), "unix:/run/redis.sock");
});

test("a URL gives host, port, user, password, database and TLS", () => {
  const { options } = connectRedis({ url: "rediss://a%40b:p%2Fw%25@[::1]:7000/3?maxRetriesPerRequest=7" }, "worker");
  assert.equal(options.host, "::1");
  assert.equal(options.port, 7000);
  assert.equal(options.username, "a@b");
  assert.equal(options.password, "p/w%");
  assert.equal(options.db, 3);
  assert.deepEqual(options.tls, {});
  assert.equal(options.maxRetriesPerRequest, null, "the URL's query changes no option");
  const plain = connectRedis({ url: "redis://:100%@localhost" }, "producer").options;
  assert.equal(plain.port, 6379);
  assert.equal(plain.password, "100%");
  assert.equal(plain.tls, undefined);
});

test("an invalid address is refused and not shown", () => {
  const refused = ["SECRET", "localhost:6379", "http://:SECRET@localhost", "redis://h/SECRET1x", "redis://", "unix:/x"];
  for (const url of refused) {
    assert.throws(() => connectRedis({ url }, "worker"), { code: "CONFIG_INVALID" }, url);
  }
  assert.throws(() => connectRedis({ url: "SECRET" }, "worker"), /^(?!.*SECRET).*redis:\/\/.*rediss:\/\//);
});

test("a cause has a reason and a fix for an error of the system or the server", () => {
  const system = (code: string) => Object.assign(new Error("raw"), { code });
  assert.match(causeOf(system("ECONNREFUSED")).reason, /refused/);
  assert.match(causeOf(new AggregateError([system("ECONNREFUSED")], "")).reason, /protocol/, "no code, no guess");
  assert.match(causeOf(system("ERR_SSL_WRONG_VERSION_NUMBER")).fix, /redis:\/\//);
  const reply = (message: string) => Object.defineProperty(new Error(message), "name", { value: "ReplyError" });
  assert.match(causeOf(reply("WRONGPASS invalid")).reason, /wrong user or password/);
  assert.equal(causeOf(reply("ERR max number of clients reached")).reason, "ERR max number of clients reached");
});
