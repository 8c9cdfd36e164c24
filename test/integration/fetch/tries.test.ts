import assert from "node:assert/strict";
import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { Fetcher } from "../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";
import type { Resolve } from "../../../src/fetch/guard.ts";
import type { FetchLimits } from "../../../src/fetch/limits.ts";
import { hostileServer } from "../../helpers/servers/hostile-server.ts";

const never = new AbortController().signal;
/** Longer than the time limit of a test: a test that waits for it fails. */
const MINUTE = 60_000;

function fetcherOf(t: TestContext, limits: Partial<FetchLimits> = {}, resolve?: Resolve): Fetcher {
  const shorter = { backoffMs: 1, timeoutMs: 5000, ...limits };
  const grants = new FileGrants([]);
  const fetcher = new Fetcher({ grants, allowPrivate: true, limits: shorter, ...(resolve && { resolve }) });
  t.after(() => fetcher.close());
  return fetcher;
}

async function timed(promise: Promise<unknown>): Promise<number> {
  const start = performance.now();
  await promise;
  return performance.now() - start;
}

/** The time limit of a test that must not wait for a long limit. */
const quick = { timeout: 20_000 };

test("408, 425, 429 and 5xx are tried three times, then unavailable", quick, async (t) => {
  for (const status of [408, 425, 429, 500, 502, 503, 504]) {
    await using server = await hostileServer((response) => response.writeHead(status).end("later"));
    await assert.rejects(fetcherOf(t).get(`${server.origin}/a?s3cr3t`, never), {
      code: "FETCH_UNAVAILABLE",
      retryable: true,
      message: `${server.origin}/a: expected an image, got status ${status} (tried 3 times); try it later`,
    });
    assert.equal(server.requests.length, 3);
  }
});

test("503 with Retry-After, then success: the wait is as long as requested", quick, async (t) => {
  await using server = await hostileServer((response, _request, count) => {
    if (count === 1) response.writeHead(503, { "retry-after": "1" }).end();
    else response.end("image");
  });
  const took = await timed(fetcherOf(t).get(server.origin, never));
  assert.ok(took >= 995 && took < 5000, `${took} ms`);
  assert.equal(server.requests.length, 2);
});

test("Retry-After is honoured up to its limit, as a date too, on every try", quick, async (t) => {
  for (const after of ["3600", new Date(Date.now() + 3_600_000).toUTCString(), "9".repeat(400)]) {
    await using server = await hostileServer((response) => response.writeHead(429, { "retry-after": after }).end());
    const fetcher = fetcherOf(t, { maxRetryAfterMs: 100 });
    const took = await timed(assert.rejects(fetcher.get(server.origin, never), { code: "FETCH_UNAVAILABLE" }));
    assert.ok(took >= 195 && took < 5000, `${took} ms`);
    assert.equal(server.requests.length, 3);
  }
});

test("without Retry-After the wait grows, and is jittered", quick, async (t) => {
  const at: number[] = [];
  await using server = await hostileServer((response) => {
    at.push(performance.now());
    response.writeHead(500).end();
  });
  await assert.rejects(fetcherOf(t, { backoffMs: 100 }).get(server.origin, never), { code: "FETCH_UNAVAILABLE" });
  const [first, second, third] = at as [number, number, number];
  assert.ok(second - first >= 48, `${second - first} ms`);
  assert.ok(third - second >= 98, `${third - second} ms`);
});

test("a reset in the middle of the body, then success", quick, async (t) => {
  await using server = await hostileServer((response, _request, count) => {
    if (count > 1) return response.end("image");
    response.writeHead(200, { "content-length": 1000 }).write("half");
    return response.socket!.once("drain", () => {}).resetAndDestroy();
  });
  const bytes = await fetcherOf(t).get(server.origin, never);
  assert.equal(Buffer.from(bytes).toString(), "image");
  assert.equal(server.requests.length, 2);
});

test("an incomplete chunked body is tried again, not used", quick, async (t) => {
  await using server = await hostileServer((response, _request, count) => {
    if (count > 1) response.end("image");
    else response.write("half", () => response.destroy());
  });
  assert.equal(Buffer.from(await fetcherOf(t).get(server.origin, never)).toString(), "image");
});

test("a host that refuses connections is unavailable", quick, async (t) => {
  const server = await hostileServer(() => {});
  await server[Symbol.asyncDispose]();
  const rejection = { code: "FETCH_UNAVAILABLE", message: /got ECONNREFUSED \(tried 3 times\)/ };
  await assert.rejects(fetcherOf(t).get(server.origin, never), rejection);
});

test("slow headers, a slow body and slow redirects end with the time limit of the try", quick, async (t) => {
  const answers = {
    headers: () => {},
    drip: (response: ServerResponse) => {
      const drip = setInterval(() => response.write("x"), 5);
      response.on("close", () => clearInterval(drip));
    },
    redirect: (response: ServerResponse) => {
      setTimeout(() => response.writeHead(302, { location: "/" }).end(), 60).unref();
    },
  };
  for (const [name, answer] of Object.entries(answers)) {
    await using server = await hostileServer(answer);
    const fetcher = fetcherOf(t, { timeoutMs: 150, tries: 2 });
    const rejection = { code: "FETCH_UNAVAILABLE", message: /no full answer within 150 ms \(tried 2 times\)/ };
    const took = await timed(assert.rejects(fetcher.get(server.origin, never), rejection, name));
    assert.ok(took >= 295 && took < 5000, `${name}: ${took} ms`);
  }
});

test("a connection that is not established ends with its own time limit: look-up and TLS", quick, async (t) => {
  const unanswered = fetcherOf(t, { connectTimeoutMs: 100, timeoutMs: MINUTE, tries: 1 }, () => {});
  const rejection = { code: "FETCH_UNAVAILABLE", message: /UND_ERR_CONNECT_TIMEOUT \(tried 1 times\)/ };
  await assert.rejects(unanswered.get("http://slow.test/", never), rejection);
  const server = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const mute = fetcherOf(t, { connectTimeoutMs: 100, timeoutMs: MINUTE, tries: 1 });
  await assert.rejects(mute.get(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`, never), rejection);
});

const cancelled = { code: "ABORTED", retryable: true };

test(
  "an abort cancels at once: before, while waiting for headers, for the body and for the next try",
  quick,
  async (t) => {
    const fetcher = fetcherOf(t, { timeoutMs: MINUTE, backoffMs: MINUTE });
    await assert.rejects(fetcher.get("http://127.0.0.1:1/", AbortSignal.abort()), cancelled);
    const answers = [
      () => {},
      (response: ServerResponse) => response.write("half"),
      (response: ServerResponse) => response.writeHead(503, { "retry-after": "30" }).end(),
    ];
    for (const answer of answers) {
      const asked = Promise.withResolvers<void>();
      await using server = await hostileServer((response) => {
        answer(response);
        void turns(50).then(asked.resolve);
      });
      const controller = new AbortController();
      const got = assert.rejects(fetcher.get(server.origin, controller.signal), cancelled);
      await asked.promise;
      controller.abort();
      assert.ok((await timed(got)) < 1000);
      assert.equal(server.requests.length, 1);
    }
  },
);

test("an abort does not wait for a look-up or a connection either", quick, async (t) => {
  const asked = Promise.withResolvers<void>();
  const fetcher = fetcherOf(t, { timeoutMs: MINUTE, connectTimeoutMs: 2000 }, () => asked.resolve());
  const controller = new AbortController();
  const got = assert.rejects(fetcher.get("http://slow.test/", controller.signal), cancelled);
  await asked.promise;
  controller.abort();
  assert.ok((await timed(got)) < 1000);
});

test("closing ends running fetches, and no try follows", quick, async (t) => {
  const asked = Promise.withResolvers<void>();
  await using server = await hostileServer(() => asked.resolve());
  const fetcher = fetcherOf(t, { timeoutMs: MINUTE });
  const got = assert.rejects(fetcher.get(server.origin, never), cancelled);
  await asked.promise;
  await fetcher.close();
  await got;
  await assert.rejects(fetcher.get(server.origin, never), cancelled);
  assert.equal(server.requests.length, 1);
});

test("a hundred concurrent fetches under one signal: no listener is left, no warning is emitted", quick, async (t) => {
  const warnings: Error[] = [];
  const warned = (warning: Error) => warnings.push(warning);
  process.on("warning", warned);
  t.after(() => process.off("warning", warned));
  await using server = await hostileServer((response, _request, count) => {
    if (count % 7 === 0) response.destroy();
    else response.end("image");
  });
  const fetcher = fetcherOf(t, { tries: 10 });
  const { signal } = new AbortController();
  const bodies = await Promise.all(Array.from({ length: 100 }, () => fetcher.get(server.origin, signal)));
  assert.ok(bodies.every((body) => Buffer.from(body).toString() === "image"));
  assert.deepEqual(warnings, []);
});

/** Turns of the event loop: then the client has received what a server in this process wrote. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((next) => setImmediate(next));
}
