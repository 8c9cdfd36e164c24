import assert from "node:assert/strict";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { type RunningCommand, Workspace } from "../../helpers/cli.ts";

const TEXTS = ["good", "bad", "it was fine"];

async function urlOf(command: RunningCommand): Promise<string> {
  await command.says("Try:");
  return /^Listening on (\S+)$/m.exec(command.stderr)![1]!;
}

/** Submits texts until the server no longer answers. @returns the runs that got a 202 */
async function submitUntilKilled(url: string, onAccepted: () => void): Promise<string[]> {
  const runs: string[] = [];
  for (;;) {
    try {
      const response = await fetch(`${url}/v1/label/text`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ model: "tiny-sentiment", items: TEXTS }),
      });
      const body = (await response.json()) as { run: string };
      if (response.status !== 202) continue;
      runs.push(body.run);
      onAccepted();
    } catch {
      return runs;
    }
  }
}

for (const accept of ["store", "redis"] as const)
  test(`kill -9 of labelmill serve --accept ${accept} while it answers 202: every accepted text is labeled once`, async () => {
    await using work = await Workspace.open();
    const serve = () =>
      work.start(["serve", "--with-worker", "--models", "tiny-sentiment", "--port", "0", "--accept", accept]);
    const accepted: string[] = [];
    for (let round = 0; round < 3; round++) {
      const command = serve();
      const url = await urlOf(command);
      let count = 0;
      const clients = Array.from({ length: 4 }, () =>
        submitUntilKilled(url, () => {
          if (++count === 30) command.child.kill("SIGKILL");
        }),
      );
      accepted.push(...(await Promise.all(clients)).flat());
      await command.ended;
      await work.redisClosed();
      // The journal in the output is enough.
      if (accept === "store" && round === 1)
        await rm(work.file("labelmill-data", "state", "redis"), { recursive: true });
    }
    assert.ok(accepted.length >= 90);
    assert.equal(new Set(accepted).size, accepted.length);
    const command = serve();
    await urlOf(command);
    const output = work.file("labelmill-data", "output");
    const rowsOf = async (run: string) =>
      (await readFile(join(output, `single-${run}.jsonl`), "utf8").catch(() => "")).split("\n").length - 1;
    // A killed writer leaves a file beside its object, which a store removes after an hour.
    const records = async () =>
      (await readdir(join(output, "_accepted")).catch(() => [])).filter((name) => /^[0-9a-f]{16}\.json$/.test(name));
    let left = accepted;
    const deadline = performance.now() + 60_000;
    while ((left.length > 0 || (await records()).length > 0) && performance.now() < deadline) {
      const rows = await Promise.all(left.map(rowsOf));
      left = left.filter((_, at) => rows[at] !== TEXTS.length);
      await delay(50);
    }
    assert.deepEqual([left, await records()], [[], []]);
    command.child.kill("SIGTERM");
    assert.equal((await command.ended).code, 0);
  });
