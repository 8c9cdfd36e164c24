import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { newWebhookSecret } from "../../../src/webhooks/sign.ts";
import { pythonWith } from "../../helpers/python.ts";
import { endOfRun, TestWebhooks } from "../../helpers/runs/test-webhooks.ts";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const PYTHON_PACKAGES = ["standardwebhooks==1.1.0"];

/** The program of docs/webhooks.md in a language, on a free port. */
async function program(language: string): Promise<{ text: string; port: number }> {
  const page = await readFile(`${ROOT}docs/webhooks.md`, "utf8");
  const text = new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "s").exec(page)?.[1] ?? "";
  assert.ok(text.includes("8787"), `docs/webhooks.md has no program in ${language}`);
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return { text: text.replace("8787", String(port)), port };
}

/** Runs the program, and checks that it accepts deliveries with its secret, also beside another one, and refuses others. */
async function checkReceiver(t: TestContext, command: string, args: string[], language: string): Promise<void> {
  const { text, port } = await program(language);
  await using webhooks = await TestWebhooks.open();
  const env = { ...process.env, WEBHOOK_SECRET: webhooks.secret };
  const child = spawn(command, args, { cwd: ROOT, env, stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  child.stdin.end(text);
  const url = `http://127.0.0.1:${port}/`;

  // The first tries may come before the program listens.
  const first = await webhooks.start({ waitsMs: Array.from({ length: 200 }, () => 100) });
  assert.equal(await webhooks.deliver(url, endOfRun(undefined, { labels: { "schön 日本 🙂": 1 } })), undefined);
  await first.close();
  const rotating = await webhooks.start({
    settings: { webhookSecrets: [newWebhookSecret(), webhooks.secret] },
    waitsMs: [],
  });
  assert.equal(await webhooks.deliver(url), undefined);
  await rotating.close();
  await webhooks.start({ settings: { webhookSecrets: [newWebhookSecret()] }, waitsMs: [] });
  assert.equal(await webhooks.deliver(url), "status 400 (after 1 try)");
}

test("the Node program of docs/webhooks.md verifies the deliveries", { timeout: 60_000 }, async (t) => {
  await checkReceiver(t, process.execPath, ["--input-type=module", "-"], "js");
});

test("the Python program of docs/webhooks.md verifies the deliveries", { timeout: 120_000 }, async (t) => {
  let python: string;
  try {
    python = await pythonWith("standardwebhooks-1.1.0", PYTHON_PACKAGES, (line) => console.log(line));
  } catch (error) {
    return t.skip(`needs Python 3 with venv, and the packages: ${(error as Error).message}`);
  }
  await checkReceiver(t, python, ["-"], "python");
});
