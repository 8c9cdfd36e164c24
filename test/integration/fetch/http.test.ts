import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";
import { Fetcher } from "../../../src/fetch/fetcher.ts";
import { FileGrants } from "../../../src/fetch/grants.ts";
import type { FetchLimits } from "../../../src/fetch/limits.ts";
import { hostileServer } from "../../helpers/servers/hostile-server.ts";

const never = new AbortController().signal;

function fetcherOf(t: TestContext, limits: Partial<FetchLimits> = {}): Fetcher {
  const shorter = { backoffMs: 1, timeoutMs: 5000, ...limits };
  const fetcher = new Fetcher({ grants: new FileGrants([]), allowPrivate: true, limits: shorter });
  t.after(() => fetcher.close());
  return fetcher;
}

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();

test("the bytes are unchanged, the connection is reused, and the request has no other headers", async (t) => {
  const body = Buffer.alloc(300_000, "image ");
  await using server = await hostileServer((response) =>
    response.writeHead(200, { "content-type": "text/html", "set-cookie": "a=b" }).end(body),
  );
  const fetcher = fetcherOf(t);
  for (let i = 0; i < 10; i++) {
    assert.deepEqual(Buffer.from(await fetcher.get(`${server.origin}/a%20b.png?q=1#f`, never)), body);
  }
  // A request may be sent before the connection of the last one is free, but not every time.
  assert.ok(server.connections() <= 3, `${server.connections()} connections`);
  const request = server.requests[2]!;
  assert.equal(request.url, "/a%20b.png?q=1");
  const { connection: _, ...headers } = request.headers;
  const host = `127.0.0.1:${server.port}`;
  assert.deepEqual(headers, { host, "user-agent": "labelmill", "accept-encoding": "identity" });
});

test("an ETag is requested and compared: another one, 412 and a missing page are INPUT_CHANGED", async (t) => {
  const answers: Record<string, [number, Record<string, string>]> = {
    "/same": [200, { etag: '"abc"' }],
    "/weak": [200, { etag: 'W/"abc"' }],
    "/ignores": [200, { etag: '"def"' }],
    "/refuses": [412, {}],
    "/gone": [404, {}],
    "/none": [200, {}],
  };
  await using server = await hostileServer((response, { url }) => {
    response.writeHead(...answers[url!]!).end("image");
  });
  const fetcher = fetcherOf(t);
  const expected = { what: "a text file", object: { etag: "abc" } };
  for (const path of ["/same", "/weak"])
    assert.equal(text(await fetcher.get(server.origin + path, never, expected)), "image");
  assert.equal(server.requests[0]!.headers["if-match"], '"abc"');
  for (const path of ["/ignores", "/refuses", "/gone"])
    await assert.rejects(fetcher.get(server.origin + path, never, expected), {
      code: "INPUT_CHANGED",
      message: `${server.origin}${path}: expected the object with ETag abc, but it was replaced or deleted since: submit its new version`,
    });
  await assert.rejects(fetcher.get(`${server.origin}/none`, never, expected), {
    code: "FETCH_FAILED",
    message: /with an ETag/,
  });
  const broken = { what: "a text file", object: { etag: "a\r\nx: y" } };
  await assert.rejects(fetcher.get(`${server.origin}/same`, never, broken), { code: "FETCH_FAILED" });
  await assert.rejects(fetcher.get(`${server.origin}/refuses`, never, { what: "a text file" }), {
    message: /expected a text file, got status 412/,
  });
});

test("five redirects of all kinds, relative too, are followed, a sixth is not", { timeout: 20_000 }, async (t) => {
  const dropped: Promise<unknown>[] = [];
  const kinds = [301, 302, 303, 307, 308, 301];
  await using server = await hostileServer((response, request) => {
    const left = Number.parseInt(request.url!.slice(1), 10);
    if (left === 0) return response.end("image");
    // The body never ends: the fetcher must neither wait for it nor keep the connection.
    dropped.push(once(response, "close"));
    return response
      .writeHead(kinds[left - 1]!, { location: `../${left - 1}`, "content-length": 10_000 })
      .write("moved");
  });
  const fetcher = fetcherOf(t);
  assert.equal(text(await fetcher.get(`${server.origin}/5`, never)), "image");
  assert.equal(server.requests.length, 6);
  await Promise.all(dropped);
  await assert.rejects(fetcher.get(`${server.origin}/6?s3cr3t`, never), {
    code: "FETCH_FAILED",
    message: `${server.origin}/6: expected an answer after at most 5 redirects, got one more redirect`,
  });
  assert.equal(server.requests.length, 12);
});

test("a loop of redirects ends, and a redirect without a target is an error", async (t) => {
  await using loop = await hostileServer((response) => response.writeHead(302, { location: "/" }).end());
  await assert.rejects(fetcherOf(t).get(loop.origin, never), { code: "FETCH_FAILED", retryable: false });
  assert.equal(loop.requests.length, 6);
  for (const headers of [{}, { location: "http://[" }, { location: ["/a", "/b"] }] as Record<string, string>[]) {
    await using server = await hostileServer((response) => response.writeHead(302, headers).end());
    await assert.rejects(fetcherOf(t).get(server.origin, never), {
      code: "FETCH_FAILED",
      message: /a redirect to one URL/,
    });
    assert.equal(server.requests.length, 1);
  }
});

test("a redirect's location may be raw UTF-8", async (t) => {
  await using server = await hostileServer((response, request) => {
    if (request.url !== "/") return response.end(request.url);
    return response.socket!.end("HTTP/1.1 302 Found\r\nLocation: /süß\r\nContent-Length: 0\r\n\r\n");
  });
  assert.equal(text(await fetcherOf(t).get(server.origin, never)), "/s%C3%BC%C3%9F");
});

test("statuses have their codes, and no error contains the query", async (t) => {
  const cases = {
    404: "IMAGE_NOT_FOUND",
    410: "IMAGE_NOT_FOUND",
    400: "FETCH_FAILED",
    401: "FETCH_FAILED",
    403: "FETCH_FAILED",
  };
  for (const [status, code] of [...Object.entries(cases), ["304", "FETCH_FAILED"] as const]) {
    await using server = await hostileServer((response) => response.writeHead(Number(status)).end());
    const message = `${server.origin}/a.png: expected an image, got status ${status}`;
    await assert.rejects(fetcherOf(t).get(`${server.origin}/a.png?sig=s3cr3t`, never), {
      code,
      message,
      retryable: false,
    });
    assert.equal(server.requests.length, 1, status);
  }
});

test("an endless body is cut at the limit", async (t) => {
  let sent = 0;
  await using server = await hostileServer((response) => {
    const more = () => {
      do sent += 10_000;
      while (response.write(Buffer.alloc(10_000)));
    };
    response.on("drain", more);
    more();
  });
  await assert.rejects(fetcherOf(t, { maxBytes: 100_000 }).get(server.origin, never), { code: "FETCH_TOO_LARGE" });
  assert.equal(server.requests.length, 1);
  assert.ok(sent < 20_000_000, `${sent} bytes were taken`);
});

test("a content-length over the limit is refused unread, one at the limit is not", async (t) => {
  await using server = await hostileServer((response, request) => {
    const length = Number(request.url!.slice(1));
    response.writeHead(200, { "content-length": length });
    if (length <= 1000) response.end(Buffer.alloc(length));
    else response.flushHeaders();
  });
  const fetcher = fetcherOf(t, { maxBytes: 1000 });
  assert.equal((await fetcher.get(`${server.origin}/1000`, never)).length, 1000);
  await assert.rejects(fetcher.get(`${server.origin}/1001`, never), {
    code: "FETCH_TOO_LARGE",
    message: /at most 1000/,
  });
  await assert.rejects(fetcherOf(t).get(`${server.origin}/20000001`, never), { code: "FETCH_TOO_LARGE" });
});

test("with a wrong content-length, no byte beyond it is read, and a shorter body is an error", async (t) => {
  await using server = await hostileServer((response, request) => {
    const length = request.url === "/less" ? 3 : 100;
    response.socket!.end(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\nimage, and more`);
  });
  const fetcher = fetcherOf(t);
  assert.equal(text(await fetcher.get(`${server.origin}/less`, never)), "ima");
  await assert.rejects(fetcher.get(`${server.origin}/more`, never), { code: "FETCH_UNAVAILABLE", retryable: true });
  assert.equal(server.requests.length, 4);
});

test("an encoded body is refused and not decoded, so that no bomb is decompressed", async (t) => {
  const bomb = gzipSync(Buffer.alloc(50_000_000));
  for (const encoding of ["gzip", "br", "identity, gzip", "deflate"]) {
    await using server = await hostileServer((response) =>
      response.writeHead(200, { "content-encoding": encoding }).end(bomb),
    );
    await assert.rejects(fetcherOf(t).get(server.origin, never), { code: "FETCH_FAILED", message: /content-encoding/ });
    assert.equal(server.requests.length, 1);
  }
  await using plain = await hostileServer((response) =>
    response.writeHead(200, { "content-encoding": "Identity" }).end("i"),
  );
  assert.equal(text(await fetcherOf(t).get(plain.origin, never)), "i");
});

test("an answer that is not HTTP fails without another try", async (t) => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on("error", () => {});
    socket.end("SSH-2.0-OpenSSH_9.2\r\n");
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await assert.rejects(fetcherOf(t).get(`http://127.0.0.1:${port}/`, never), {
    code: "FETCH_FAILED",
    message: /does not match the HTTP/,
  });
  assert.equal(connections, 1);
});

test("endless headers are cut", async (t) => {
  await using server = await hostileServer((response) => {
    response.socket!.write("HTTP/1.1 200 OK\r\n");
    const more = () => {
      while (response.socket?.write(`x-${"a".repeat(1000)}: b\r\n`));
    };
    response.socket!.on("error", () => {});
    response.socket!.on("drain", more);
    more();
  });
  await assert.rejects(fetcherOf(t).get(server.origin, never), { code: "FETCH_FAILED", message: /HEADERS_OVERFLOW/ });
});

test("a self-signed certificate is refused, even if the environment allows it", async (t) => {
  const pem = await readFile(new URL("../../fixtures/self-signed.pem", import.meta.url));
  let requests = 0;
  const server = createTlsServer({ key: pem, cert: pem }, (_request, response) => {
    requests++;
    response.end("image");
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  t.after(() => {
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before;
  });
  const { port } = server.address() as AddressInfo;
  await assert.rejects(fetcherOf(t).get(`https://127.0.0.1:${port}/`, never), {
    code: "FETCH_FAILED",
    message: /DEPTH_ZERO_SELF_SIGNED_CERT/,
  });
  assert.equal(requests, 0);
});
