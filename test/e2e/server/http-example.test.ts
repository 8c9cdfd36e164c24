import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runProgram } from "../../helpers/python.ts";
import { TestApi } from "../../helpers/servers/api.ts";

const PROGRAM = fileURLToPath(new URL("../../../examples/http/label.ts", import.meta.url));

test("examples/http/label.ts labels texts over HTTP, with a key", async () => {
  await using api = await TestApi.open({ keys: { shop: ["submit"] } });
  const key = api.as("shop").authorization.replace("Bearer ", "");
  const { code, output } = await runProgram(process.execPath, [PROGRAM, api.url, key]);
  assert.equal(code, 0, output);
  assert.match(output, /^#0 POSITIVE 0\.\d+\n#1 NEGATIVE 0\.\d+\n$/);
  const refused = await runProgram(process.execPath, [PROGRAM, api.url, `${key}x`]);
  assert.equal(refused.code, 1);
  assert.match(refused.output, /UNAUTHORIZED: /);
});
