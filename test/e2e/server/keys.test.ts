import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { Workspace } from "../../helpers/cli.ts";

test("keys are created, listed and revoked; a key is shown once, and stored as a hash only", async () => {
  await using work = await Workspace.open();
  const created = await work.expect(0, ["keys", "create", "--name", "uploads", "--scopes", "submit", "admin"]);
  const key = created.stdout.trim();
  assert.match(key, /^lm_[0-9a-f]{8}_[\w-]{43}$/);
  assert.ok(!created.stderr.includes(key));
  const id = key.slice(3, 11);
  const folder = work.file("labelmill-data", "state", "keys");
  assert.deepEqual(await readdir(folder), [`${id}.json`]);
  assert.ok(!(await readFile(`${folder}/${id}.json`, "utf8")).includes(key.slice(12)));

  const listed = await work.expect(0, ["keys", "list"]);
  assert.match(listed.stdout, new RegExp(`^${id}  submit,admin  created \\S+  uploads\n$`));
  await work.expect(0, ["keys", "revoke", id]);
  const [record] = JSON.parse((await work.expect(0, ["keys", "list", "--json"])).stdout);
  assert.deepEqual([record.id, typeof record.revokedAt, record.sha256], [id, "string", undefined]);
  const unknown = await work.expect(2, ["keys", "revoke", "00000000"]);
  assert.match(unknown.stderr, /USAGE: expected the id of a key in .*, got 00000000/);
});

test("a server with a shared Redis needs the place of its state", async () => {
  await using work = await Workspace.open();
  const env = { REDIS_URL: "redis://127.0.0.1:1" };
  const created = await work.expect(2, ["keys", "create"], { env });
  assert.match(created.stderr, /USAGE: expected --state beside REDIS_URL/);
  const served = await work.expect(2, ["serve"], { env });
  assert.match(served.stderr, /USAGE: expected --out and --state beside REDIS_URL/);
  const alone = await work.expect(2, ["serve"]);
  assert.match(alone.stderr, /USAGE: expected REDIS_URL, or --with-worker/);
});
