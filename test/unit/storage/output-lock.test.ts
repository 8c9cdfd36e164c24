import assert from "node:assert/strict";
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import {
  link,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  unlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { lockOutput } from "../../../src/storage/lease/output-lock.ts";
import { deadHolder, writeHolder } from "../../helpers/lock-files.ts";
import type { RacerOrder } from "../../helpers/processes/lock-racer.ts";
import { isError } from "../../helpers/store-conformance.ts";

// The dead holders have the fields that Linux provides.
const linux = process.platform === "linux" ? {} : { skip: "needs /proc" };

describe("the lock of an output", linux, () => {
  test("refuses a second command, also of this process, and names the holder", async () => {
    await using place = await makePlace();
    const lock = await lockOutput(place.folder);
    const expected = new RegExp(
      `${place.folder} is in use by process ${process.pid} on ${hostname()}, since 2.*choose`,
    );
    await assert.rejects(lockOutput(place.folder), isError("OUTPUT_LOCKED", expected));
    assert.equal(lock.lost.aborted, false);
    await lock.release();
    await lock.release();
    assert.deepEqual(await readdir(place.folder), []);
    await using again = await lockOutput(place.folder);
    assert.equal(again.lost.aborted, false);
  });

  test("makes the folder, or reports why it cannot", async () => {
    await using place = await makePlace();
    await using _lock = await lockOutput(join(place.folder, "a", "b"));
    assert.deepEqual(await readdir(join(place.folder, "a", "b")), ["_lock"]);
    await writeFile(join(place.folder, "file"), "");
    await assert.rejects(
      lockOutput(join(place.folder, "file")),
      isError("STORE_FAILED", /a file is where a folder is needed/),
    );
    // A folder in which mkdir fails with a misleading error.
    await assert.rejects(lockOutput("/proc/labelmill/out"), isError("STORE_FAILED", /\/proc\/labelmill/));
  });

  test("of ten concurrent commands exactly one gets it", async () => {
    await using place = await makePlace();
    const locks = await Promise.allSettled(Array.from({ length: 10 }, () => lockOutput(place.folder)));
    const won = locks.filter((lock) => lock.status === "fulfilled");
    assert.equal(won.length, 1);
    for (const lock of locks) if (lock.status === "rejected") isError("OUTPUT_LOCKED")(lock.reason);
    await won[0]!.value.release();
    assert.deepEqual(await readdir(place.folder), []);
  });

  test("of a killed command is free at once", async () => {
    await using place = await makePlace();
    const racer = await startRacer(place.folder);
    assert.equal(await ask(racer, { do: "lock" }), "won");
    await assert.rejects(lockOutput(place.folder), isError("OUTPUT_LOCKED", new RegExp(`process ${racer.pid} `)));
    const ended = once(racer, "exit");
    racer.kill("SIGKILL");
    await ended;
    await using _lock = await lockOutput(place.folder);
    assert.deepEqual(await readdir(place.folder), ["_lock"]);
  });

  test("of a killed command that is still a zombie is free too", async () => {
    await using place = await makePlace();
    // A shell with a child that then becomes a program which does not wait for its children.
    const script = "exec 9<&0; head -c1 <&9 >&2 & echo $!; exec tail -f /dev/null";
    const parent = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "ignore"] });
    const ended = once(parent, "exit");
    try {
      const pid = Number((await once(parent.stdout!, "data"))[0]);
      await until(async () => (await readFile(`/proc/${parent.pid}/comm`, "latin1")) === "tail\n");
      const fields = async () => (await readFile(`/proc/${pid}/stat`, "latin1")).split(") ")[1]!.split(" ");
      const started = (await fields())[19]!;
      parent.stdin!.write("x");
      await until(async () => (await fields())[0] === "Z");
      await writeHolder(place.folder, deadHolder({ pid, started }));
      await using _lock = await lockOutput(place.folder);
    } finally {
      parent.kill("SIGKILL");
      await ended;
    }
  });

  test("is free if another process has its process id now", async () => {
    await using place = await makePlace();
    await writeHolder(place.folder, deadHolder({ pid: process.pid, started: "1" }));
    await using _lock = await lockOutput(place.folder);
  });

  test("of another machine, boot or container is free 60 s after its last renewal, not before", async () => {
    for (const other of [{ host: "elsewhere" }, { machine: "another boot" }, { machine: null }]) {
      await using place = await makePlace();
      await writeHolder(place.folder, deadHolder(other));
      await assert.rejects(lockOutput(place.folder), isError("OUTPUT_LOCKED", /process 1073741824 on/));
      await age(place.folder, 55);
      await assert.rejects(lockOutput(place.folder), isError("OUTPUT_LOCKED"));
      await age(place.folder, 61);
      await using _lock = await lockOutput(place.folder);
    }
  });

  test("torn by a crash of the machine is free after 60 s, not before", async () => {
    for (const torn of ["", "\0\0\0\0", '{"host":"he', '{"host":"here","pid":-1}\n']) {
      await using place = await makePlace();
      await writeHolder(place.folder, torn);
      await assert.rejects(lockOutput(place.folder), isError("OUTPUT_LOCKED", /a command that was writing _lock at 2/));
      await age(place.folder, 61);
      await (await lockOutput(place.folder)).release();
      assert.deepEqual(await readdir(place.folder), []);
    }
  });

  test("is not taken, and nothing is overwritten, if _lock is another file", async () => {
    const foreign = isError("OUTPUT_FOREIGN", /_lock is not a lock that labelmill wrote: move it away/);
    for (const content of ["my own notes", "x".repeat(5000), "[1]\n"]) {
      await using place = await makePlace();
      await writeHolder(place.folder, content);
      await age(place.folder, 3600);
      await assert.rejects(lockOutput(place.folder), foreign);
      assert.deepEqual(await readdir(place.folder), ["_lock"]);
      assert.equal(await readFile(join(place.folder, "_lock"), "utf8"), content);
    }
    await using place = await makePlace();
    await writeFile(join(place.folder, "target"), "");
    await symlink(join(place.folder, "target"), join(place.folder, "_lock"));
    await assert.rejects(lockOutput(place.folder), foreign);
    await unlink(join(place.folder, "_lock"));
    await mkdir(join(place.folder, "_lock"));
    await assert.rejects(lockOutput(place.folder), foreign);
  });
});

describe("a held lock", linux, () => {
  test("is renewed every 5 s, by the time of its file", async (t) => {
    await using place = await makePlace();
    t.mock.timers.enable({ apis: ["setInterval"] });
    const lock = await lockOutput(place.folder);
    await link(join(place.folder, "_lock"), join(place.folder, "same"));
    const content = await readFile(join(place.folder, "same"), "utf8");
    await age(place.folder, 600);
    t.mock.timers.tick(5_000);
    await lock.release();
    const { mtimeMs } = await stat(join(place.folder, "same"));
    assert.ok(Math.abs(Date.now() - mtimeMs) < 30_000, new Date(mtimeMs).toISOString());
    assert.equal(await readFile(join(place.folder, "same"), "utf8"), content);
    assert.equal(lock.lost.aborted, false);
  });

  test("is lost when another command took it, and release does not remove that lock", async (t) => {
    await using place = await makePlace();
    const reason = await losing(t, place.folder, () => writeHolder(place.folder, deadHolder({ host: "elsewhere" })));
    assert.match(reason.message, /_lock is lost: another command took it/);
    assert.match(await readFile(join(place.folder, "_lock"), "utf8"), /elsewhere/);
  });

  test("is lost when it was removed, or replaced by another file", async (t) => {
    await using place = await makePlace();
    const removed = await losing(t, place.folder, () => unlink(join(place.folder, "_lock")));
    assert.match(removed.message, /it was removed/);
    await losing(t, place.folder, () => writeHolder(place.folder, "notes"));
    assert.equal(await readFile(join(place.folder, "_lock"), "utf8"), "notes");
  });
});

test("ten racing processes", linux, async (t) => {
  await using place = await makePlace();
  await using racers = await startRacers(place.folder, 10);

  await t.test("exactly one takes over a stale lock, every time", async () => {
    for (let round = 0; round < 24; round += 1) {
      const dead = deadHolder();
      if (round % 4 > 0) await writeHolder(place.folder, dead);
      // One command, then two, that were killed after their claim and before they took the lock.
      const next = deadHolder();
      if (round % 4 > 1) await writeHolder(place.folder, next, `._lock.${dead.token}.claim`);
      if (round % 4 > 2) await writeHolder(place.folder, deadHolder(), `._lock.${next.token}.claim`);
      const answers = await Promise.all(racers.all.map((racer) => ask(racer, { do: "lock" })));
      const expected = ["won", ...new Array(racers.all.length - 1).fill("OUTPUT_LOCKED")];
      assert.deepEqual([...answers].sort().reverse(), expected, `round ${round}`);
      assert.deepEqual(await readdir(place.folder), ["_lock"], `round ${round}`);
      assert.equal(await ask(racers.all[answers.indexOf("won")]!, { do: "release" }), "released");
    }
    assert.deepEqual(await readdir(place.folder), []);
  });

  await t.test("two never hold it at the same time, whether they release it or die with it", async () => {
    const results = await Promise.all(racers.all.map((racer) => ask(racer, { do: "contend", tries: 60 })));
    let wins = 0;
    for (const result of results as { wins: number; others: number; errors: string[] }[]) {
      assert.equal(result.others, 0);
      assert.deepEqual(result.errors, []);
      wins += result.wins;
    }
    assert.ok(wins >= 10, `${wins} wins`);
    const left = (await readdir(place.folder)).filter((name) => name !== "_lock");
    assert.deepEqual(left, []);
  });

  await t.test("after a kill at any moment, the next command can take the lock", async () => {
    for (const racer of racers.all) racer.send({ do: "contend", tries: Number.MAX_SAFE_INTEGER });
    for (const racer of racers.all) {
      const ended = once(racer, "exit");
      racer.kill("SIGKILL");
      await ended;
    }
    await (await lockOutput(place.folder)).release();
    assert.equal((await readdir(place.folder)).includes("_lock"), false);
  });
});

/** Takes the lock, runs `happen`, waits for a renewal, and returns why the lock was lost. */
async function losing(t: TestContext, folder: string, happen: () => Promise<void>): Promise<LabelmillError> {
  t.mock.timers.enable({ apis: ["setInterval"] });
  try {
    const lock = await lockOutput(folder);
    const lost = once(lock.lost, "abort");
    await happen();
    t.mock.timers.tick(5_000);
    await lost;
    await lock.release();
    assert.ok(lock.lost.reason instanceof LabelmillError);
    isError("OUTPUT_LOCKED")(lock.lost.reason);
    return lock.lost.reason;
  } finally {
    t.mock.timers.reset();
  }
}

/** Polls the state of another process, which has no event for its changes. */
async function until(reached: () => Promise<boolean>): Promise<void> {
  while (!(await reached())) await new Promise(setImmediate);
}

async function age(folder: string, seconds: number): Promise<void> {
  const then = Date.now() / 1000 - seconds;
  await utimes(join(folder, "_lock"), then, then);
}

async function makePlace(): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), "labelmill-lock-"));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

async function startRacers(folder: string, length: number): Promise<{ all: ChildProcess[] } & AsyncDisposable> {
  const all = await Promise.all(Array.from({ length }, () => startRacer(folder)));
  const dispose = async () => {
    const running = all.filter((racer) => racer.exitCode === null && racer.signalCode === null);
    const ended = running.map((racer) => once(racer, "exit"));
    for (const racer of running) racer.kill("SIGKILL");
    await Promise.all(ended);
  };
  return { all, [Symbol.asyncDispose]: dispose };
}

async function startRacer(folder: string): Promise<ChildProcess> {
  const racer = fork(new URL("../../helpers/processes/lock-racer.ts", import.meta.url), [folder]);
  assert.equal(await answer(racer), "ready");
  return racer;
}

async function ask(racer: ChildProcess, order: RacerOrder): Promise<unknown> {
  const answered = answer(racer);
  racer.send(order);
  return answered;
}

function answer(racer: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const ended = () => reject(new Error("the racer ended without an answer"));
    racer.once("exit", ended);
    racer.once("message", (message) => {
      racer.off("exit", ended);
      resolve(message);
    });
  });
}
