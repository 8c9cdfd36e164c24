import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { openInputs } from "../../src/sources/inputs.ts";
import type { Source } from "../../src/sources/source.ts";

const inputs = Array.from({ length: 100 }, (_, index) => String(index));

function sourceOf(uri: string): Source {
  return {
    input: { uri, size: null, modifiedAt: null, hash: null },
    read: { format: "lines", delimiter: null, column: null, idColumn: null, keep: [] },
    async *records() {},
  };
}

test("inputs are opened side by side, 16 at most, and come in their order", async () => {
  let open = 0;
  let most = 0;
  const sources = await openInputs(inputs, async (input) => {
    most = Math.max(most, ++open);
    // The later, the faster.
    for (let turns = 100 - Number(input); turns > 0; turns--) await setImmediate();
    open--;
    return sourceOf(input);
  });
  assert.deepEqual(
    sources.map(({ input }) => input.uri),
    inputs,
  );
  assert.equal(most, 16);
  assert.deepEqual(await openInputs([], async (input) => sourceOf(input)), []);
});

test("the first input that cannot be opened is the one that is told, and little is opened after it", async () => {
  const asked: string[] = [];
  const opening = openInputs(inputs, async (input) => {
    asked.push(input);
    if (input === "20") for (let turns = 0; turns < 10; turns++) await setImmediate();
    if (Number(input) >= 20) throw new Error(input);
    return sourceOf(input);
  });
  await assert.rejects(opening, { message: "20" });
  assert.ok(asked.length <= 20 + 16, `${asked.length} were asked for`);
});
