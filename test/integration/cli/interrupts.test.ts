import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type RunningCommand, Workspace } from "../../helpers/cli.ts";

const MAIN = fileURLToPath(new URL("../../helpers/processes/interrupted-main.ts", import.meta.url));
/** Longer than any test: a test overrides the times that it needs to elapse. */
const NEVER = { oneSignalMs: 600_000, closingMs: 600_000, lastMs: 600_000, killMs: 600_000 };

async function start(work: Workspace, behaviour: string, times: Partial<typeof NEVER>): Promise<RunningCommand> {
  execFileSync("mkfifo", [work.file("fifo")]);
  const args = [behaviour, JSON.stringify({ ...NEVER, ...times }), work.file("fifo")];
  const command = work.start(args, { script: MAIN });
  await command.prints((text) => text.includes("ready"));
  return command;
}

for (const name of ["SIGINT", "SIGTERM"] as const) {
  test(`${name} itself ends a command that handles no signals`, async () => {
    await using work = await Workspace.open();
    const command = await start(work, "nothing", {});
    command.child.kill(name);
    const { signal, stdout } = await command.ended;
    assert.deepEqual([signal, stdout], [name, "ready\nreleased\n"]);
  });

  test(`${name} ends a command with blocked pool threads after the grace time`, async () => {
    await using work = await Workspace.open();
    const command = await start(work, "fifo", { closingMs: 100 });
    command.child.kill(name);
    const { signal, stdout, stderr } = await command.ended;
    assert.deepEqual([signal, stdout], [name, "ready\nreleased\n"], stderr);
    assert.equal(stderr, `\n${name}: stopping in good order (again to stop at once)\n`);
  });

  test(`after ${name}, the watchdog kills a command whose main thread is blocked`, async () => {
    await using work = await Workspace.open();
    const command = await start(work, "blocks", { closingMs: 100, lastMs: 100, killMs: 100 });
    command.child.kill(name);
    const { signal, stdout } = await command.ended;
    assert.deepEqual([signal, stdout], ["SIGKILL", "ready\n"]);
  });
}

test("a command that ends within its grace time keeps its exit code, and the watchdog does not delay its end", async () => {
  await using work = await Workspace.open();
  const command = await start(work, "slow", {});
  command.child.kill("SIGTERM");
  const { code, signal, stdout } = await command.ended;
  assert.deepEqual([code, signal, stdout], [7, null, "ready\n"]);
});

test("signals within a second count as one, so a signal that npm passes on does not end the command", async () => {
  await using work = await Workspace.open();
  const command = await start(work, "slow", {});
  command.child.kill("SIGINT");
  command.child.kill("SIGINT");
  await command.says("stopping");
  command.child.kill("SIGINT");
  command.child.kill("SIGTERM");
  const { code, signal, stderr } = await command.ended;
  assert.deepEqual([code, signal], [7, null]);
  assert.equal(stderr.match(/stopping in good order/g)?.length, 1, stderr);
});

test("a second signal after that time ends the command immediately", async () => {
  await using work = await Workspace.open();
  const command = await start(work, "fifo", { oneSignalMs: 1 });
  command.child.kill("SIGINT");
  await command.says("stopping");
  // The first of these that arrives at least a millisecond later ends the command.
  const again = setInterval(() => command.child.kill("SIGTERM"), 50);
  const { signal, stdout } = await command.ended.finally(() => clearInterval(again));
  assert.deepEqual([signal, stdout], ["SIGTERM", "ready\n"]);
});

test("a failed command is killed if its pool threads stay blocked, and otherwise ends by itself", async () => {
  await using work = await Workspace.open();
  const stuck = await start(work, "fails", { closingMs: 100, lastMs: 100, killMs: 100 });
  assert.equal((await stuck.ended).signal, "SIGKILL");
  await using other = await Workspace.open();
  const { code, signal } = await (await start(other, "recovers", {})).ended;
  assert.deepEqual([code, signal], [1, null]);
});
