import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { appendFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CrashJournal } from "../../../src/workers/crashes/crash-journal.ts";
import { crashCount, type Evidence, NO_EVIDENCE } from "../../../src/workers/crashes/evidence.ts";
import { crashRecordConformance } from "../../helpers/runs/crash-record-conformance.ts";

async function folder() {
  const path = await mkdtemp(join(tmpdir(), "journal-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

crashRecordConformance("journal", async () => {
  const place = await folder();
  let last: CrashJournal | undefined;
  return {
    async restart() {
      // The file of a dead process is closed, and the process writes nothing more.
      last?.close();
      last = new CrashJournal(join(place.path, "_inflight"));
      return last;
    },
    async close() {
      last?.forget();
      last?.close();
      await place[Symbol.asyncDispose]();
    },
  };
});

const REF = { run: "0123456789abcdef", slice: 1 };

async function evidenceIn(path: string): Promise<Evidence> {
  const journal = new CrashJournal(path);
  const { evidence } = await journal.take(REF);
  journal.close();
  return evidence;
}

test("a line that is torn by a crash does not affect the others", async () => {
  await using place = await folder();
  const path = join(place.path, "_inflight");
  assert.deepEqual(await evidenceIn(path), NO_EVIDENCE);
  appendFileSync(path, 'try 1 torn.1 {"start":"to');
  assert.equal(crashCount(await evidenceIn(path)), 1);
  assert.equal(crashCount(await evidenceIn(path)), 2);
});

test("the crashes in the journal of an earlier version are read", async () => {
  await using place = await folder();
  const path = join(place.path, "_inflight");
  writeFileSync(path, "\ntake 1\ntake 1\n\ntake 1\nat 1 3\nat 1 4\n\ntake 2\ntake 1\nback 1\nend 2\n");
  const { crashes, through } = await evidenceIn(path);
  assert.deepEqual(
    crashes.map(({ at }) => at),
    [null, null, [4, 5]],
  );
  assert.deepEqual(through, [[3, 4]]);
});

test("a slice that is delayed repeatedly does not make the journal grow, and the evidence of others is kept", async () => {
  await using place = await folder();
  const path = join(place.path, "_inflight");
  const sizes: number[] = [];
  for (const rounds of [40, 400]) {
    const journal = new CrashJournal(path);
    const other = await journal.take({ ...REF, slice: 2 });
    await other.note([rounds, rounds + 1]);
    for (let i = 0; i < rounds; i++) await (await journal.take(REF)).giveBack();
    journal.close();
    sizes.push(statSync(path).size);
  }
  assert.ok(Math.max(...sizes) < 20_000, `${sizes} bytes`);
  const journal = new CrashJournal(path);
  const { evidence } = await journal.take({ ...REF, slice: 2 });
  assert.deepEqual(
    evidence.crashes.map(({ at }) => at),
    [
      [40, 41],
      [400, 401],
    ],
  );
  assert.equal(crashCount((await journal.take(REF)).evidence), 0);
  journal.close();
});

test("the journal is deleted when the run is over", async () => {
  await using place = await folder();
  const journal = new CrashJournal(join(place.path, "_inflight"));
  await journal.take(REF);
  journal.forget();
  journal.close();
  assert.deepEqual(await readdir(place.path), []);
});

test("a named pipe or a link in the place of the journal is refused at once", async () => {
  await using place = await folder();
  const path = join(place.path, "_inflight");
  assert.equal(spawnSync("mkfifo", [path]).status, 0);
  assert.throws(() => new CrashJournal(path), { code: "OUTPUT_FOREIGN", message: /it is a pipe, socket or device/ });
  await rm(path);
  await symlink("elsewhere", path);
  assert.throws(() => new CrashJournal(path), { code: "OUTPUT_FOREIGN", message: /it is a link/ });
  assert.deepEqual(await readdir(place.path), ["_inflight"]);
});
