import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { loadBuiltIn } from "../../../src/models/built-in.ts";
import { EventSchema } from "../../../src/schemas/event.ts";
import { pythonWith, runProgram } from "../../helpers/python.ts";
import { TestPipeline } from "../../helpers/runs/pipeline.ts";

const SCRIPT = fileURLToPath(new URL("../../../examples/submit.py", import.meta.url));

test("examples/submit.py submits a job with BullMQ's Python client and gets its labels", async (t) => {
  const packages = /pip install ([\w=. ]+)\)/.exec(await readFile(SCRIPT, "utf8"))![1]!.split(" ");
  let python: string;
  try {
    python = await pythonWith(`python-${packages[0]!.replace("==", "-")}`, packages, (line) => console.log(line));
  } catch (error) {
    return t.skip(`needs Python 3 with venv, and the packages: ${(error as Error).message}`);
  }
  await using pipeline = await TestPipeline.open();
  await pipeline.worker({ threads: 1 });
  const { id, digest } = await loadBuiltIn("tiny-sentiment");
  const args = [SCRIPT, pipeline.redis.url, id, digest, pipeline.output("labels"), "Great value, wonderful"];
  const { code, output } = await runProgram(python, args);
  assert.equal(code, 0, output);
  const { items, part, rows } = EventSchema.parse(JSON.parse(output));
  assert.equal(rows, 1);
  const [row] = items!;
  assert.ok(row && "label" in row);
  assert.equal(row.label, "POSITIVE");
  const stored = await readFile(fileURLToPath(`${pipeline.output("labels")}${part}`), "utf8");
  assert.deepEqual(JSON.parse(stored), row);
});
