import assert from "node:assert/strict";
import type { LookupAddress } from "node:dns";
import { type TestContext, test } from "node:test";
import { LabelmillError } from "../../../src/errors.ts";
import { Fetcher } from "../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";
import type { Resolve } from "../../../src/fetch/guard.ts";
import { type Answer, hostileServer } from "../../helpers/servers/hostile-server.ts";

const never = new AbortController().signal;
const ok: Answer = (response) => response.end("image");

function fetcherOf(t: TestContext, allowPrivate: boolean, resolve?: Resolve): Fetcher {
  const limits = { backoffMs: 1, timeoutMs: 5000 };
  const fetcher = new Fetcher({ grants: new FileGrants(["/"]), allowPrivate, limits, ...(resolve && { resolve }) });
  t.after(() => fetcher.close());
  return fetcher;
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => assert.fail("expected URL_REFUSED, got bytes"),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof LabelmillError, String(error));
  assert.equal(error.code, "URL_REFUSED", error.message);
  return error.message;
}

/** A resolver that returns the answers in order, then the last one again, and counts its calls. */
function scripted(...answers: string[][]): { resolve: Resolve; asked: () => number } {
  let asked = 0;
  const resolve: Resolve = (_hostname, _options, callback) => {
    const answer = answers[Math.min(asked++, answers.length - 1)]!;
    const addresses: LookupAddress[] = answer.map((address) => ({ address, family: 4 }));
    setImmediate(() => callback(null, addresses));
  };
  return { resolve, asked: () => asked };
}

test("no connection to a private host is opened, in any notation, unless allowed", async (t) => {
  await using server = await hostileServer(ok);
  const fetcher = fetcherOf(t, false);
  const forms = ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "[::ffff:127.0.0.1]", "localhost"];
  for (const host of forms) await refusal(fetcher.get(`http://${host}:${server.port}/a.png`, never));
  assert.equal(server.connections(), 0);
  const allowed = fetcherOf(t, true);
  for (const host of forms) {
    assert.equal(
      Buffer.from(await allowed.get(`http://${host}:${server.port}/a.png`, never)).toString(),
      "image",
      host,
    );
  }
});

test("each redirect is guarded again", async (t) => {
  await using server = await hostileServer((response, request) => {
    const location = new URL(request.url!, "http://h").searchParams.get("to")!;
    response.writeHead(302, { location }).end();
  });
  const fetcher = fetcherOf(t, true);
  const targets = ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "//0xa9fea9fe/", "https://0.0.0.0/"];
  const others = [
    "file:///etc/passwd",
    "ftp://h/",
    "data:,x",
    "javascript:1",
    `http://u:s3cr3t@127.0.0.1:${server.port}/`,
  ];
  for (const to of [...targets, ...others]) {
    const message = await refusal(fetcher.get(`${server.origin}/?to=${encodeURIComponent(to)}`, never));
    assert.doesNotMatch(message, /s3cr3t/);
  }
  assert.equal(server.requests.length, targets.length + others.length);
});

test("credentials in a URL are refused before any connection", async (t) => {
  await using server = await hostileServer(ok);
  const fetcher = fetcherOf(t, true);
  for (const user of ["u:s3cr3t", "s3cr3t", ":s3cr3t"]) {
    assert.doesNotMatch(await refusal(fetcher.get(`http://${user}@127.0.0.1:${server.port}/`, never)), /s3cr3t/);
  }
  assert.equal(server.connections(), 0);
});

test("the connection uses the checked address, even if the next answer differs", async (t) => {
  await using checked = await hostileServer((response) => response.end("checked"), "127.0.0.1");
  await using later = await hostileServer((response) => response.end("later"), "127.0.0.2", checked.port);
  const { resolve, asked } = scripted(["127.0.0.1"], ["127.0.0.2"]);
  const fetcher = fetcherOf(t, true, resolve);
  const body = await fetcher.get(`http://changing.test:${checked.port}/`, never);
  assert.equal(Buffer.from(body).toString(), "checked");
  assert.equal(asked(), 1);
  assert.equal(checked.requests[0]!.headers.host, `changing.test:${checked.port}`);
  assert.equal(later.connections(), 0);
});

test("a name is looked up once a connection, so that only the checked answer is used", async (t) => {
  await using server = await hostileServer(ok);
  const { resolve, asked } = scripted(["127.0.0.1"], ["8.8.8.8"]);
  await refusal(fetcherOf(t, false, resolve).get(`http://changing.test:${server.port}/`, never));
  assert.equal(asked(), 1);
  assert.equal(server.connections(), 0);
});

test("every new connection is checked, that of a further try too", async (t) => {
  await using server = await hostileServer((response) => response.destroy());
  const { resolve, asked } = scripted(["127.0.0.1"], ["169.254.169.254"]);
  await refusal(fetcherOf(t, true, resolve).get(`http://changing.test:${server.port}/`, never));
  assert.equal(asked(), 2);
  assert.equal(server.requests.length, 1);
});

test("a redirect to a name is checked when the connection is opened", async (t) => {
  await using server = await hostileServer((response, request) => {
    response.writeHead(301, { location: `http://other.test:${request.socket.localPort}/` }).end();
  });
  const { resolve } = scripted(["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]);
  const message = await refusal(fetcherOf(t, true, resolve).get(`http://first.test:${server.port}/`, never));
  assert.match(message, /other\.test has one that is linkLocal/);
  assert.equal(server.requests.length, 1);
});

test("a name without an address is an error that is not tried again", async (t) => {
  let asked = 0;
  const fetcher = fetcherOf(t, true, (hostname, _options, callback) => {
    asked++;
    callback(Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: "ENOTFOUND" }), []);
  });
  await assert.rejects(fetcher.get("http://none.test/a?s3cr3t", never), {
    code: "FETCH_FAILED",
    message: "http://none.test/a: expected an image, got ENOTFOUND",
  });
  assert.equal(asked, 1);
});
