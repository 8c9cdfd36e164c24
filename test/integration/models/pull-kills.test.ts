import assert from "node:assert/strict";
import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { HubLimits } from "../../../src/models/hub/http.ts";
import { findPulled } from "../../../src/models/hub/pull.ts";
import type { FullDiskOrder, FullDiskResult } from "../../helpers/processes/full-disk-main.ts";
import type { PullMessage, PullOrder } from "../../helpers/processes/pull-main.ts";
import {
  type HubPlace,
  modelFolders,
  ONNX_BYTES,
  openHubPlace,
  QUICK,
  TINY,
  TOTAL_BYTES,
  unfinished,
} from "../../helpers/servers/hub-place.ts";
import type { HubRequest } from "../../helpers/servers/hub-server.ts";

const PULL_MAIN = fileURLToPath(new URL("../../helpers/processes/pull-main.ts", import.meta.url));
const FULL_DISK_MAIN = fileURLToPath(new URL("../../helpers/processes/full-disk-main.ts", import.meta.url));
const SMALL_BYTES = TOTAL_BYTES - ONNX_BYTES;

const isBytes = ({ method, origin }: HubRequest) => method === "GET" && origin === "cdn";

function startPull({ hub, modelsDir }: HubPlace, limits: Partial<HubLimits> = {}): ChildProcess {
  const order: PullOrder = {
    source: TINY,
    options: { modelsDir, endpoint: hub.endpoint, limits: { ...QUICK, ...limits } },
  };
  return fork(PULL_MAIN, [JSON.stringify(order)]);
}

/** Kills a process when it sends the awaited message. Messages already sent count too. @returns the last progress */
async function killWhen(child: ChildProcess, isIt: (news: PullMessage) => boolean): Promise<number> {
  let doneBytes = 0;
  child.on("message", (news: PullMessage) => {
    if (news.is === "progress") doneBytes = news.doneBytes;
    if (isIt(news)) child.kill("SIGKILL");
  });
  const [, signal] = await once(child, "exit");
  assert.equal(signal, "SIGKILL");
  return doneBytes;
}

async function lastNews(child: ChildProcess): Promise<PullMessage> {
  let last: PullMessage | undefined;
  child.on("message", (news: PullMessage) => {
    last = news;
  });
  await once(child, "exit");
  return last!;
}

describe("kill -9 of a process that pulls", { concurrency: 2 }, () => {
  for (const [at, rangeBytes] of [
    [0, 1 << 25],
    [1, 1 << 25],
    [123_456, 1 << 25],
    [ONNX_BYTES - 1, 1 << 25],
    [50_000, 100_000],
  ] as const)
    test(`after ${at} bytes of each range of ${rangeBytes}: no model, and the next fetches only the rest`, async () => {
      await using place = await openHubPlace();
      const { hub, modelsDir, pull } = place;
      hub.fault = (request) => (isBytes(request) ? { stallAfter: at } : undefined);
      // The first range is requested alone, then up to six concurrently.
      const ranges = rangeBytes > ONNX_BYTES ? 1 : 6;
      const done = await killWhen(
        startPull(place, { rangeBytes }),
        (news) => news.is === "progress" && news.doneBytes === SMALL_BYTES + ranges * at,
      );
      assert.equal(done, SMALL_BYTES + ranges * at);
      assert.equal(await findPulled(TINY, modelsDir), undefined);
      assert.deepEqual(await modelFolders(modelsDir), []);

      hub.takeSentBytes();
      hub.fault = () => undefined;
      const progress: number[] = [];
      await pull({}, { limits: { rangeBytes }, onProgress: ({ doneBytes }) => progress.push(doneBytes) });
      assert.equal(progress[0], done, "what is there counts from the beginning");
      assert.equal(hub.takeSentBytes(), TOTAL_BYTES - done);
      assert.ok(await findPulled(TINY, modelsDir));
      assert.deepEqual(await unfinished(modelsDir), []);
    });

  test("after the last byte, while the files are checked and renamed: a complete model or none", async () => {
    for (let i = 0; i < 5; i++) {
      await using place = await openHubPlace();
      const { hub, modelsDir, pull } = place;
      await killWhen(startPull(place), (news) => news.is === "progress" && news.doneBytes === TOTAL_BYTES);
      const found = await findPulled(TINY, modelsDir);
      assert.ok(found === undefined || (await modelFolders(modelsDir)).length === 1);
      hub.takeSentBytes();
      await pull();
      assert.equal(hub.takeSentBytes(), 0);
      assert.ok(await findPulled(TINY, modelsDir));
      assert.deepEqual(await unfinished(modelsDir), []);
    }
  });
});

describe("concurrent pulls of the same model", { concurrency: 2 }, () => {
  test("one downloads, the others wait and use its result", async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir } = place;
    const allAsked = Promise.withResolvers<void>();
    hub.fault = (request) => {
      if (hub.requests.filter(({ path }) => path.endsWith("onnx/model.onnx_data")).length === 3) allAsked.resolve();
      return isBytes(request) ? { until: allAsked.promise } : undefined;
    };
    const news = await Promise.all([1, 2, 3].map(() => lastNews(startPull(place))));
    const dir = join(modelsDir, "tests--tiny-image", `${hub.commitOf(TINY.repo)}-fp32`);
    assert.deepEqual(news, Array(3).fill({ is: "pulled", dir }));
    assert.equal(hub.takeSentBytes(), TOTAL_BYTES);
    assert.equal(hub.requests.filter(isBytes).length, 1);
    assert.deepEqual(await unfinished(modelsDir), []);
  });

  test("a waiting process continues the download of a killed one", async () => {
    await using place = await openHubPlace();
    const { hub } = place;
    hub.fault = (request) => (isBytes(request) ? { stallAfter: 400_000 } : undefined);
    const first = startPull(place);
    const done = SMALL_BYTES + 400_000;
    let second: Promise<PullMessage> | undefined;
    const killed = killWhen(first, (news) => {
      if (news.is !== "progress" || news.doneBytes !== done) return false;
      const known = hub.requests.length;
      hub.fault = ({ number, path }) => {
        // The second process has sent all requests that precede its wait.
        if (number > known && path.endsWith("onnx/model.onnx_data")) first.kill("SIGKILL");
        return undefined;
      };
      second = lastNews(startPull(place));
      return false;
    });
    assert.equal(await killed, done);
    assert.equal((await second!).is, "pulled");
    assert.equal(hub.takeSentBytes(), TOTAL_BYTES);
  });
});

describe("a full disk", () => {
  /** Runs `full-disk-main.ts` on a separate file system of `bytes`, which ends with the process. */
  async function onDisk(bytes: number, order: FullDiskOrder): Promise<FullDiskResult> {
    await mkdir(order.modelsDir, { recursive: true });
    const script = 'mount -t tmpfs -o size="$1" disk "$2" && exec "$3" "$4" "$5"';
    const args = ["-rm", "sh", "-c", script, "sh", String(bytes), order.modelsDir, process.execPath, FULL_DISK_MAIN];
    const { stdout } = await promisify(execFile)("unshare", [...args, JSON.stringify(order)]);
    return JSON.parse(stdout) as FullDiskResult;
  }
  const canMount = promisify(execFile)("unshare", ["-rm", "sh", "-c", 'mount -t tmpfs disk "$1"', "sh", tmpdir()]).then(
    () => true,
    () => false,
  );

  for (const [title, fill, message, doneBytes, answers] of [
    ["from the beginning: refused without a request for bytes", { leaveBytes: 300_000 }, /\d+ are free/, 0, 1],
    ["before the first byte", { fillAtBytes: 0, leaveBytes: 0 }, /the disk is full/, 0, 2],
    ["in the middle: the received bytes are kept", { fillAtBytes: 200_000, leaveBytes: 0 }, /the disk is full/, 1, 2],
  ] as const)
    test(`${title}; with free space again, the next pull continues`, async (t) => {
      if (!(await canMount))
        return t.skip("NOT TESTED: a full disk (no right to mount one in a namespace: unshare -rm)");
      await using place = await openHubPlace();
      const { hub, modelsDir } = place;
      const order = { source: TINY, modelsDir: join(modelsDir, "disk"), endpoint: hub.endpoint, ...fill };
      const { error, found, left, ...then } = await onDisk(2_000_000, order);
      assert.deepEqual([error.code, error.retryable, found], ["STORE_FAILED", true, false], error.message);
      const room = /tests--tiny-image: expected space for \d{6} more bytes of the model, but .*: free space there/;
      assert.match(error.message, room);
      assert.match(error.message, message);
      assert.deepEqual(
        left.filter((name) => !name.startsWith(".")),
        [],
      );
      assert.ok(then.doneBytes >= doneBytes && then.pulled);
      assert.ok(hub.requests.filter(isBytes).length <= answers);
    });
});
