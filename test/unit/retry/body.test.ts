import assert from "node:assert/strict";
import { test } from "node:test";
import { collect } from "../../../src/retry/read-body.ts";

const tooLarge = () => new Error("too large");

test("a stream of single bytes is read whole, and stopped at the first byte over the limit", async () => {
  let sent = 0;
  async function* drip(count: number) {
    for (sent = 0; sent < count; sent++) yield new Uint8Array([sent % 251]);
  }
  let chunks = 0;
  const onChunk = () => {
    chunks += 1;
  };
  const bytes = await collect(drip(100_000), { maxBytes: 100_000, tooLarge, onChunk });
  assert.equal(bytes.length, 100_000);
  assert.ok(bytes.every((byte, index) => byte === index % 251));
  assert.equal(chunks, 100_000);
  await assert.rejects(collect(drip(Number.POSITIVE_INFINITY), { maxBytes: 70_000, tooLarge }), /too large/);
  assert.equal(sent, 70_000);
});

test("an empty stream is no bytes, whatever was expected", async () => {
  async function* nothing() {}
  for (const expectedBytes of [0, 10])
    assert.equal((await collect(nothing(), { maxBytes: 10, tooLarge, expectedBytes })).length, 0);
});
