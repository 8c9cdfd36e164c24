import assert from "node:assert/strict";
import { test } from "node:test";
import { within } from "../../../src/redis/deadline.ts";
import { lastLines, runChild } from "../../../src/redis/embedded/child.ts";
import { parseOsRelease } from "../../../src/redis/embedded/debian.ts";
import { isSupported } from "../../../src/redis/version.ts";

test("6.2 is the oldest version", () => {
  for (const version of ["6.2.0", "6.2.14", "6.10", "7.0.15", "7.2.4", "10.0"])
    assert.ok(isSupported(version), version);
  for (const version of ["6.0.16", "5.0.14", "2.8", "6", "", "x7.2"]) assert.ok(!isSupported(version), version);
});

test("Debian, Ubuntu and their derivatives are recognized", () => {
  const debian = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n';
  assert.deepEqual(parseOsRelease(debian), {
    name: "Debian GNU/Linux 12 (bookworm)",
    release: "debian-12",
    isDebian: true,
  });
  const mint = "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_ID='22'\n";
  assert.deepEqual(parseOsRelease(mint), { name: "linuxmint", release: "linuxmint-22", isDebian: true });
  const sid = "ID=debian\nVERSION_CODENAME=../../x y";
  assert.equal(parseOsRelease(sid).release, "debian-..-..-x-y", "a folder name has no separator");
  assert.equal(parseOsRelease("ID=fedora\nID_LIKE=rhel\n").isDebian, false);
  assert.deepEqual(parseOsRelease(""), { name: process.platform, release: "-rolling", isDebian: false });
});

test("the failure of a child process is one short line with its last output", async () => {
  assert.equal(await runChild(["/bin/sh", "-c", "echo yes"], 5_000), "yes\n");
  const fails = runChild(["/bin/sh", "-c", "echo one >&2; echo; echo two >&2; exit 3"], 5_000);
  await assert.rejects(fails, { message: "/bin/sh failed with 3: one / two" });
  await assert.rejects(runChild(["/no/such/program"], 5_000), { message: "/no/such/program failed with ENOENT" });
  await assert.rejects(runChild(["/bin/sh", "-c", "exec sleep 60"], 50), {
    message: "/bin/sh did not end within 0.05 s",
  });
  assert.equal(lastLines("\n \n"), "");
  assert.equal(lastLines("x".repeat(5_000)).length, 502);
});

test("within returns the result of the work, or rejects with ETIMEDOUT", async () => {
  assert.equal(await within(5_000, Promise.resolve(1)), 1);
  await assert.rejects(within(5_000, Promise.reject(new Error("its own"))), { message: "its own" });
  await assert.rejects(within(10, new Promise(() => {})), { code: "ETIMEDOUT" });
});
