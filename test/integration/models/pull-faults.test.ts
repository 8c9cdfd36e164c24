import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { findPulled, type PullProgress } from "../../../src/models/hub/pull.ts";
import { modelFolders, ONNX_BYTES, openHubPlace, TINY, TOTAL_BYTES } from "../../helpers/servers/hub-place.ts";
import type { Fault, HubRequest } from "../../helpers/servers/hub-server.ts";

const isBytes = ({ method, origin }: HubRequest) => method === "GET" && origin === "cdn";

/** Resolves when a download has reached `bytes`: then the sent bytes are on the disk. */
function reaches(bytes: number): { until: Promise<void>; onProgress: (progress: PullProgress) => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { until: promise, onProgress: ({ doneBytes }) => doneBytes >= bytes && resolve() };
}

describe("a hub that fails temporarily", { concurrency: 2 }, () => {
  test("a cut connection: the rest is requested, and no byte is sent twice", async () => {
    await using place = await openHubPlace();
    const { hub, pull } = place;
    const { until, onProgress } = reaches(300_000);
    let cuts = 0;
    hub.fault = (request) => {
      if (isBytes(request) && cuts++ === 0) return { cutAfter: 300_000, until };
      return undefined;
    };
    await pull({}, { onProgress });
    assert.equal(hub.takeSentBytes(), TOTAL_BYTES);
    assert.deepEqual(
      hub.requests.filter(isBytes).map(({ headers }) => headers.range),
      [`bytes=0-${ONNX_BYTES - 1}`, `bytes=300000-${ONNX_BYTES - 1}`],
    );
  });

  test("cuts after progress do not use up the tries; cuts without progress do", async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir, pull } = place;
    let cuts = 0;
    let next = Promise.withResolvers<void>();
    hub.fault = (request) => {
      if (!isBytes(request)) return undefined;
      cuts++;
      next = Promise.withResolvers<void>();
      return { cutAfter: 100_000, until: next.promise };
    };
    const onProgress = ({ doneBytes, totalBytes }: PullProgress) =>
      doneBytes >= Math.min(cuts * 100_000, totalBytes) && next.resolve();
    await pull({}, { limits: { tries: 2 }, onProgress });
    assert.equal(cuts, 8);

    hub.publish(TINY.repo, { "config.json": Buffer.from("{}"), "onnx/model.onnx": randomBytes(200_000) });
    cuts = 0;
    hub.fault = (request) => (isBytes(request) && ++cuts ? { cutAfter: 1000 } : undefined);
    await assert.rejects(pull({}, { limits: { tries: 3 } }), {
      code: "MODEL_UNAVAILABLE",
      retryable: true,
      message: /onnx\/model\.onnx: expected an answer of the hub, got .* \(tried 3 times\)/,
    });
    assert.equal(cuts, 3);
    assert.equal((await modelFolders(modelsDir)).length, 1, "only the first");
    hub.fault = () => undefined;
    await pull();
    assert.equal((await modelFolders(modelsDir)).length, 2);
  });

  test("a stalled connection is closed after the idle time, and the rest is requested", {
    timeout: 30_000,
  }, async () => {
    await using place = await openHubPlace();
    const { hub, pull } = place;
    let stalls = 0;
    hub.fault = (request) => (isBytes(request) && stalls++ === 0 ? { stallAfter: 250_000 } : undefined);
    await pull({}, { limits: { silentMs: 500 } });
    assert.equal(hub.takeSentBytes(), TOTAL_BYTES);
  });

  test("429 and 5xx are tried again, at the hub and at the CDN; so is 403 of the CDN, whose addresses expire", async () => {
    for (const status of [429, 408, 500, 502, 503, 504]) {
      await using place = await openHubPlace();
      const { hub, modelsDir, pull } = place;
      const seen = new Set<string>();
      hub.fault = ({ method, path }) => {
        const key = `${method} ${path}`;
        if (seen.has(key)) return undefined;
        seen.add(key);
        return { status };
      };
      await pull();
      assert.ok(await findPulled(TINY, modelsDir));
    }
    await using place = await openHubPlace();
    place.hub.fault = (request) =>
      isBytes(request) && place.hub.requests.filter(isBytes).length === 1 ? { status: 403 } : undefined;
    await place.pull();
    assert.equal(
      place.hub.requests.filter(
        ({ method, file, origin }) => method === "GET" && file === "onnx/model.onnx" && origin === "hub",
      ).length,
      2,
      "the hub is asked for a new address",
    );
  });

  test("Retry-After is respected, in seconds and as a date, up to its limit", { timeout: 30_000 }, async () => {
    for (const [after, limit, least] of [
      ["1", 60_000, 990],
      [() => new Date(Date.now() + 2000).toUTCString(), 60_000, 900],
      ["3600", 200, 195],
    ] as const) {
      await using place = await openHubPlace();
      const { hub, pull } = place;
      const at: number[] = [];
      hub.fault = ({ number }) => {
        at.push(performance.now());
        if (number > 1) return undefined;
        return { status: 429, headers: { "retry-after": typeof after === "string" ? after : after() } };
      };
      await pull({}, { limits: { maxRetryAfterMs: limit } });
      const waited = at[1]! - at[0]!;
      assert.ok(waited >= least && waited < least + 5000, `${waited} ms`);
    }
  });

  test("a server without ranges: the whole file at once, and after a cut only the missing bytes are used", async () => {
    await using place = await openHubPlace();
    const { hub, pull } = place;
    const { until, onProgress } = reaches(350_000);
    let answers = 0;
    hub.fault = (request) => {
      if (!isBytes(request)) return undefined;
      return { ignoreRange: true, ...(answers++ === 0 && { cutAfter: 350_000, until }) } satisfies Fault;
    };
    await pull({}, { limits: { rangeBytes: 100_000 }, onProgress });
    assert.equal(answers, 2, "not one for each range");
    assert.equal(hub.takeSentBytes(), TOTAL_BYTES + 350_000);
  });

  test("an unreachable hub is an error, after all tries", async () => {
    await using place = await openHubPlace();
    const gone = createServer().listen(0, "127.0.0.1");
    await once(gone, "listening");
    const { port } = gone.address() as AddressInfo;
    gone.close();
    await once(gone, "close");
    const endpoint = `http://127.0.0.1:${port}`;
    await assert.rejects(place.pull({}, { endpoint, limits: { tries: 2 } }), {
      code: "MODEL_UNAVAILABLE",
      message: /got ECONNREFUSED \(tried 2 times\).*HF_ENDPOINT/,
    });
    await assert.rejects(place.pull({}, { endpoint: "http://no-such-host.invalid" }), {
      code: "MODEL_UNAVAILABLE",
      message: /got (ENOTFOUND|EAI_AGAIN)/,
    });
    assert.equal(existsSync(join(place.modelsDir, "tests--tiny-image")), false);
  });

  test("an abort ends a pull at once; the next pull continues it", { timeout: 30_000 }, async () => {
    await using place = await openHubPlace();
    const { hub, modelsDir, pull } = place;
    const abort = new AbortController();
    hub.fault = (request) => (isBytes(request) ? { stallAfter: 200_000 } : undefined);
    const pulling = pull(
      {},
      {
        signal: abort.signal,
        limits: { silentMs: 120_000 },
        onProgress: ({ doneBytes }) => doneBytes === 200_000 + TOTAL_BYTES - ONNX_BYTES && abort.abort(),
      },
    );
    await assert.rejects(pulling, { code: "ABORTED" });
    assert.equal(await findPulled(TINY, modelsDir), undefined);
    hub.takeSentBytes();
    hub.fault = () => undefined;
    await pull();
    assert.equal(hub.takeSentBytes(), ONNX_BYTES - 200_000);
  });
});
