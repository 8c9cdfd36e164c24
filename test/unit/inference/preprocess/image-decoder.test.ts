import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, constants, open, openSync } from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { LabelmillError } from "../../../../src/errors.ts";
import type { ImageRecipe } from "../../../../src/inference/model/image-recipe.ts";
import { decodeImage } from "../../../../src/inference/preprocess/image/decode-image.ts";
import { type DecodeLimits, ImageDecoder } from "../../../../src/inference/preprocess/image/image-decoder.ts";
import { fixture, gradient, LARGE, TINY } from "../../../helpers/inputs/images.ts";
import { temporaryFolder } from "../../../helpers/runs/pipeline.ts";

const UNLIMITED: DecodeLimits = { budgetBytes: 1e12, timeoutMs: 60_000, threads: 4 };

/** Takes some hundred ms in one call of the codec, which cannot be stopped. */
const slowToUnpack = await gradient(16, 16).resize(4000, 4000, { kernel: "nearest" }).avif({ effort: 0 }).toBuffer();

const small = await fixture("small.png");

const codeOf = (code: string) => (error: unknown) => error instanceof LabelmillError && error.code === code;

describe("memory", () => {
  test("decodes wait in order until their estimates fit, and release the memory", async () => {
    const file = await fixture("subsampled-420.jpg");
    // Memory for one of these.
    const decoder = new ImageDecoder({ ...UNLIMITED, budgetBytes: 5_000_000 });
    const held: number[] = [];
    const all = Array.from({ length: 8 }, () =>
      decoder.decode(file, LARGE).then((pixels) => {
        held.push(decoder.heldBytes);
        return pixels;
      }),
    );
    const expected = await decodeImage(file, LARGE);
    for (const pixels of await Promise.all(all)) assert.deepEqual(pixels, expected);
    assert.ok(
      held.every((bytes) => bytes <= 5_000_000),
      held.join(),
    );
    assert.equal(await heldSoon(decoder), 0);
  });

  test("an image over the whole budget is decoded alone", async () => {
    const decoder = new ImageDecoder({ ...UNLIMITED, budgetBytes: 1000 });
    const file = await fixture("subsampled-420.jpg");
    await Promise.all([decoder.decode(file, LARGE), decoder.decode(file, TINY)]);
    assert.equal(await heldSoon(decoder), 0);
  });

  test("an image that is refused or broken releases its memory", async () => {
    const decoder = new ImageDecoder({ ...UNLIMITED, threads: 1 });
    const file = await fixture("subsampled-420.jpg");
    for (const broken of [new Uint8Array(3), file.subarray(0, 5000), file.subarray(0, 5000)]) {
      await assert.rejects(decoder.decode(broken, LARGE), codeOf("IMAGE_INVALID"));
    }
    await decoder.decode(file, LARGE);
    assert.equal(await heldSoon(decoder), 0);
  });

  test("a decode that waits for a thread at the end of the grace time is aborted", async () => {
    const decoder = new ImageDecoder({ ...UNLIMITED, threads: 1 });
    const stop = new AbortController();
    // Each thread has two slots.
    const running = [decoder.decode(slowToUnpack, TINY), decoder.decode(slowToUnpack, TINY)];
    const waiting = assert.rejects(decoder.decode(slowToUnpack, TINY, stop.signal), codeOf("ABORTED"));
    stop.abort(new LabelmillError("ABORTED", "stopped"));
    await waiting;
    await Promise.all(running);
  });
});

describe("time", () => {
  test("libvips stops by itself if it can; the thread is not lost", async () => {
    const decoder = new ImageDecoder({ ...UNLIMITED, timeoutMs: 1_000, threads: 2, graceMs: 60_000 });
    const edge = 4096;
    const slow: ImageRecipe = {
      ...TINY,
      ...{ width: edge, height: edge, resize: { kind: "exact", width: edge, height: edge }, crop: false },
      filter: "lanczos",
    };
    // Small enough to be decoded immediately, and enlarged to 8192 × 8192 in between.
    const file = await gradient(4000, 4000).png({ compressionLevel: 0 }).toBuffer();
    await assert.rejects(decoder.decode(file, slow), codeOf("IMAGE_TIMEOUT"));
    assert.equal(decoder.lost, 0);
  });

  test("a codec that cannot be stopped fails its row in time, and blocks its thread until it ends", async () => {
    // Each runs alone here.
    const decoder = new ImageDecoder({ budgetBytes: 1, timeoutMs: 100, threads: 3, graceMs: 0 });
    await assert.rejects(decoder.decode(slowToUnpack, TINY), (error) => {
      assert.ok(error instanceof LabelmillError);
      assert.equal(error.code, "IMAGE_TIMEOUT");
      assert.ok(error.retryable);
      assert.equal(decoder.lost, 1);
      return true;
    });
    assert.equal(decoder.heldBytes, 1, "its memory is still in use");
    await decoder.decode(await fixture("small.png"), TINY);
    assert.equal(decoder.lost, 0, "the next one has waited for its end");
    assert.equal(await heldSoon(decoder), 0);
  });

  test("no pass begins after the time limit", async () => {
    const decoder = new ImageDecoder({ ...UNLIMITED, timeoutMs: 10, graceMs: 60_000 });
    // Decoding exceeds the limit; the resize after it would take no time.
    const file = await gradient(4000, 4000).ensureAlpha(0.5).png({ compressionLevel: 0 }).toBuffer();
    await assert.rejects(decoder.decode(file, TINY), codeOf("IMAGE_TIMEOUT"));
    assert.equal(decoder.lost, 0);
  });

  test("waiting for a thread of the pool does not count as time of the image", async (t) => {
    const release = await holdPool(t);
    const decoder = new ImageDecoder({ ...UNLIMITED, timeoutMs: 2_000, graceMs: 0 });
    const decoding = decoder.decode(small, TINY);
    const late = Promise.withResolvers<void>();
    setTimeout(late.resolve, 2_500);
    await Promise.race([decoding, late.promise]);
    await release();
    await decoding;
    assert.equal(decoder.lost, 0);
  });

  test("a pool without a free thread fails the slice and the worker, not the image", async (t) => {
    const release = await holdPool(t);
    const decoder = new ImageDecoder({ ...UNLIMITED, poolMs: 100 });
    await assert.rejects(decoder.decode(small, TINY), codeOf("INFERENCE_FAILED"));
    assert.match((await decoder.failed).message, /no thread was free to decode an image for 0\.1 s/);
    await release();
  });

  test("half of the threads lost: the worker is notified, and waiting decodes fail", async () => {
    const decoder = new ImageDecoder({ ...UNLIMITED, timeoutMs: 20, threads: 2, graceMs: 0 });
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => decoder.decode(slowToUnpack, TINY)));
    for (const outcome of outcomes)
      assert.ok(outcome.status === "rejected" && codeOf("INFERENCE_FAILED")(outcome.reason));
    assert.match((await decoder.failed).message, /1 of 2 threads that decode images are stuck/);
    await assert.rejects(decoder.decode(await fixture("small.png"), TINY), codeOf("INFERENCE_FAILED"));
  });
});

/** The held bytes after all ready callbacks have run: memory is released just after a decode settles. */
async function heldSoon(decoder: ImageDecoder): Promise<number> {
  await new Promise(setImmediate);
  return decoder.heldBytes;
}

/** Blocks all threads of libuv's pool in a call that waits for a writer. @returns a function that releases them */
async function holdPool(t: TestContext): Promise<() => Promise<void>> {
  const folder = await temporaryFolder();
  const fifo = join(folder.path, "fifo");
  execFileSync("mkfifo", [fifo]);
  const threads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
  const opened = Array.from({ length: threads }, () => promisify(open)(fifo, "r"));
  let released: Promise<void> | undefined;
  const release = () => {
    released ??= (async () => {
      // Opens at once, without the pool.
      const writer = openSync(fifo, constants.O_RDWR);
      for (const fd of await Promise.all(opened)) closeSync(fd);
      closeSync(writer);
    })();
    return released;
  };
  t.after(() => release().then(() => folder[Symbol.asyncDispose]()));
  return release;
}
