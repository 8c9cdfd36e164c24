import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { checkModelOn, readLdd } from "../../../../src/cli/doctor/check-gpu.ts";
import { loadBuiltIn } from "../../../../src/models/built-in.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";
import { SCRIPTED_THREAD, writeScripted } from "../../../helpers/threads/scripted-session.ts";

const SHAPES = [
  { rows: 8, length: 32 },
  { rows: 1, length: 32 },
  { rows: 4, length: 16 },
];

test("the output of ldd gives the found and the missing libraries", () => {
  const output = `	linux-vdso.so.1 (0x00007ffff7ffb000)
	libcublasLt.so.12 => /usr/local/cuda/lib64/libcublasLt.so.12 (0x00007fff00000000)
	libcudnn.so.9 => not found
	libonnxruntime_providers_shared.so => not found
	libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fffe0000000)
`;
  assert.deepEqual(readLdd(output), {
    found: ["libcublasLt.so.12"],
    missing: ["libcudnn.so.9", "libonnxruntime_providers_shared.so"],
  });
  assert.deepEqual(readLdd(""), { found: [], missing: [] });
});

test("a device with the answers of the CPU is ok, and its speed is reported for each length", async () => {
  const { state, found } = await checkModelOn(await loadBuiltIn("tiny-sentiment"), "cpu", SHAPES);
  assert.equal(state, "ok", found);
  assert.match(found, /^fp32: 4 of 4 best labels match the CPU, scores differ by at most 0\.000\d\d; /);
  // It depends on the machine which batch size is faster for 32 tokens.
  assert.match(found, /[\d.]+ items\/s of 32 tokens in batches of [18], [\d.]+ items\/s of 16 tokens in batches of 4$/);
});

test("a device with other answers is wrong", async () => {
  await using folder = await temporaryFolder();
  const { state, found, fix } = await checkModelOn(
    await writeScripted(join(folder.path, "model"), "text", {}),
    "cuda:0",
    SHAPES,
    SCRIPTED_THREAD,
  );
  assert.equal(state, "wrong", found);
  assert.match(found, /^fp32: \d of 4 best labels match the CPU, scores differ by at most 0\.[1-9]/);
  assert.match(fix!, /--device cpu/);
});

test("a device without memory for an item fails with that reason", async () => {
  await using folder = await temporaryFolder();
  const model = await writeScripted(join(folder.path, "model"), "text", { memory: 20 });
  await assert.rejects(checkModelOn(model, "cuda:0", SHAPES, SCRIPTED_THREAD), {
    code: "INFERENCE_FAILED",
    message: /cuda:0 has no memory for 32 tokens/,
  });
});
