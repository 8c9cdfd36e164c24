import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { after, describe, test } from "node:test";
import type { LabelmillError } from "../../../src/errors.ts";
import { S3, type S3Settings } from "../../../src/storage/s3/s3.ts";
import { S3Store } from "../../../src/storage/s3/store.ts";
import { startTestS3 } from "../../helpers/servers/s3-server.ts";
import { bytes, isError } from "../../helpers/store-conformance.ts";

const server = await startTestS3();
after(() => server[Symbol.asyncDispose]());

const FEW = { tries: 2, delayMs: 1 };
/** SeaweedFS checks signatures; the others take any. */
const signatures = !server.name.startsWith("SeaweedFS") && `${server.name} checks no signatures`;

/** Opens a store as a command does, and asserts that it fails with one clear line. */
async function failsAt(uri: string, settings: S3Settings, expected: RegExp, retryable: boolean): Promise<void> {
  const s3 = new S3(settings, FEW);
  try {
    await assert.rejects(S3Store.open(s3, uri), (error: LabelmillError) => {
      isError("STORE_FAILED", expected)(error);
      assert.equal(error.retryable, retryable);
      assert.doesNotMatch(error.message, /\n|of-the-tests-alone/);
      assert.ok(error.message.includes(uri), error.message);
      return true;
    });
  } finally {
    s3.close();
  }
}

/** Runs with other variables of the environment, which the SDK reads when a client is made. */
async function withEnv(changes: Record<string, string | undefined>, run: () => Promise<void>): Promise<void> {
  const before = Object.fromEntries(Object.keys(changes).map((name) => [name, process.env[name]]));
  const set = (values: Record<string, string | undefined>) => {
    for (const [name, value] of Object.entries(values)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
  set(changes);
  try {
    await run();
  } finally {
    set(before);
  }
}

/** A server that answers as `listener` does: what Amazon's says and the tests' own never would. */
async function withServer(listener: RequestListener, run: (settings: S3Settings) => Promise<void>): Promise<void> {
  const http = createServer(listener);
  await new Promise<void>((done) => http.listen(0, "127.0.0.1", done));
  try {
    await run({ ...server.settings, endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
  } finally {
    http.closeAllConnections();
    await new Promise((done) => http.close(done));
  }
}

function answers(
  status: number,
  code: string,
  more: { xml?: string; headers?: Record<string, string> } = {},
): RequestListener {
  return (request, response) => {
    const answer = () => {
      response.writeHead(status, { "content-type": "application/xml", ...more.headers });
      response.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>m</Message>${more.xml ?? ""}</Error>`);
    };
    if (request.readableEnded) answer();
    else request.resume().on("end", answer);
  };
}

describe(`what S3 refuses is one line (${server.name})`, () => {
  const host = new URL(server.endpoint).host;

  test("a bucket that is not there", async () => {
    const expected = new RegExp(`\\(S3 at ${host}\\): the bucket does not exist: make it`);
    await failsAt("s3://labelmill-no-such-bucket/x/", server.settings, expected, false);
    const s3 = new S3(server.settings, FEW);
    const at = { bucket: "labelmill-no-such-bucket", key: "x" };
    for (const ask of [
      () => s3.head(at),
      () => s3.get(at),
      () => s3.list(at.bucket, "").next(),
      () => s3.put(at, bytes("x")),
    ])
      await assert.rejects(ask, isError("STORE_FAILED", /the bucket does not exist/));
    s3.close();
  });

  test("a wrong secret, and an unknown key", { skip: signatures }, async () => {
    const uri = `s3://${await server.makeBucket()}/x/`;
    const secret = /the secret does not match the access key: set AWS_SECRET_ACCESS_KEY/;
    await withEnv({ AWS_SECRET_ACCESS_KEY: "wrong" }, () => failsAt(uri, server.settings, secret, false));
    const key = /the server does not know the access key: set AWS_ACCESS_KEY_ID/;
    await withEnv({ AWS_ACCESS_KEY_ID: "NOBODY" }, () => failsAt(uri, server.settings, key, false));
  });

  test("no credentials, and no region", async () => {
    const none = /no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE/;
    const keys = { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined, AWS_SESSION_TOKEN: undefined };
    await withEnv(keys, () => failsAt("s3://some-bucket/x/", server.settings, none, false));
    const { region: _, ...settings } = server.settings;
    const unset = { AWS_REGION: undefined, AWS_DEFAULT_REGION: undefined };
    await withEnv(unset, () =>
      failsAt("s3://some-bucket/x/", settings, /no region was found: set LABELMILL_S3_REGION/, false),
    );
  });

  test("nothing that listens, and no such host", async () => {
    const http = createServer();
    await new Promise<void>((done) => http.listen(0, "127.0.0.1", done));
    const { port } = http.address() as AddressInfo;
    await new Promise((done) => http.close(done));
    const refused = { ...server.settings, endpoint: `http://127.0.0.1:${port}` };
    await failsAt(
      "s3://some-bucket/x/",
      refused,
      new RegExp(`S3 at 127.0.0.1:${port}\\): nothing listens there`),
      true,
    );
    const nowhere = { ...server.settings, endpoint: "http://no-such-host.invalid" };
    await failsAt(
      "s3://some-bucket/x/",
      nowhere,
      /S3 at no-such-host.invalid\): the endpoint's name does not resolve/,
      true,
    );
  });

  test("a bucket of another region, named where the server names it", async () => {
    const headers = { "x-amz-bucket-region": "eu-west-3" };
    const named = /the bucket is in the region eu-west-3: set LABELMILL_S3_REGION=eu-west-3/;
    const uri = "s3://some-bucket/x/";
    await withServer(answers(301, "PermanentRedirect", { headers }), (settings) =>
      failsAt(uri, settings, named, false),
    );
    const malformed = answers(400, "AuthorizationHeaderMalformed", { xml: "<Region>eu-west-3</Region>" });
    await withServer(malformed, (settings) => failsAt(uri, settings, named, false));
    const unnamed = /the bucket is in another region: set LABELMILL_S3_REGION to it/;
    await withServer(answers(301, "PermanentRedirect"), (settings) => failsAt(uri, settings, unnamed, false));
  });

  test("forbidden: a store that may only be read opens, and its first write says so", async () => {
    const forbidden = isError(
      "STORE_FAILED",
      /s3:\/\/some-bucket\/x\/key \(S3 at .*\): forbidden: give these credentials s3:GetObject/,
    );
    await withServer(answers(403, "AccessDenied"), async (settings) => {
      const s3 = new S3(settings, FEW);
      const store = await S3Store.open(s3, "s3://some-bucket/x/");
      await assert.rejects(store.putIfAbsent("key", bytes("x")), forbidden);
      await assert.rejects(store.get("key"), forbidden);
      await assert.rejects(s3.head({ bucket: "some-bucket", key: "x/key" }), forbidden);
      s3.close();
    });
  });

  test("a server that is none of S3's, and one that says nothing that can be read", async () => {
    const page: RequestListener = (request, response) => {
      request.resume();
      response.writeHead(404, { "content-type": "text/html" }).end("<html><title>Not here</html>");
    };
    const uri = "s3://some-bucket/x/";
    await withServer(page, (settings) => failsAt(uri, settings, /it answers 404, but not in the form of S3/, false));
    const busy: RequestListener = (request, response) => {
      request.resume();
      response.writeHead(503).end("<html>busy");
    };
    await withServer(busy, (settings) => failsAt(uri, settings, /it answers 503( \w+)? repeatedly: try later/, true));
  });

  test("a server without conditional writes is recognised, by what it says and by what it does", async () => {
    const not: RequestListener = (request, response) => {
      if (request.headers["if-none-match"]) return answers(501, "NotImplemented")(request, response);
      request.resume().on("end", () => response.writeHead(200, { etag: '"x"' }).end());
    };
    const ignoring: RequestListener = (request, response) => {
      request
        .resume()
        .on("end", () => response.writeHead(request.method === "DELETE" ? 204 : 200, { etag: '"x"' }).end());
    };
    for (const listener of [not, ignoring]) {
      await withServer(listener, async (settings) => {
        const s3 = new S3(settings, FEW);
        assert.equal((await S3Store.open(s3, "s3://some-bucket/x/")).conditionalWrites, false);
        s3.close();
      });
    }
  });

  test("an endpoint that is no address, and an object larger than was asked for", async () => {
    for (const endpoint of ["nowhere", "ftp://host", "http://me:hidden@host"])
      assert.throws(
        () => new S3({ endpoint }),
        (error: Error) => !/hidden/.test(error.message) && isError("CONFIG_INVALID")(error),
      );
    const s3 = new S3(server.settings, FEW);
    const at = { bucket: await server.makeBucket(), key: "big" };
    await s3.put(at, new Uint8Array(1000));
    await assert.rejects(s3.get(at, { maxBytes: 999 }), isError("FETCH_TOO_LARGE", /big: expected at most 999 bytes/));
    assert.equal((await s3.get(at, { maxBytes: 1000 })).length, 1000);
    s3.close();
  });

  test("a server that knows no ranges sends all again, and no byte is read twice", async () => {
    const body = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
    let requests = 0;
    const rangeless: RequestListener = (_request, response) => {
      response.writeHead(200, { etag: '"x"', "content-length": body.length });
      requests += 1;
      if (requests > 2) response.end(body);
      else response.write(body.subarray(0, 40_000 * requests), () => response.destroy());
    };
    await withServer(rangeless, async (settings) => {
      const s3 = new S3(settings, { delayMs: 1 });
      assert.ok(body.equals(await s3.get({ bucket: "some-bucket", key: "x" })));
      assert.equal(requests, 3);
      s3.close();
    });
  });

  test("an upload in pieces that stands although the answer was lost is done; another's that stands is not", async () => {
    for (const size of [9_000_000, 1]) {
      let completed = 0;
      const forgetful: RequestListener = (request, response) => {
        request.resume().on("end", () => {
          if (request.method === "PUT") return response.writeHead(200, { etag: '"x"' }).end();
          if (request.method === "HEAD") return response.writeHead(200, { etag: '"x"', "content-length": size }).end();
          if (request.method === "DELETE") return response.writeHead(204).end();
          if (/uploads/.test(request.url!))
            return response.end(
              "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            );
          completed += 1;
          if (completed === 1) return response.destroy();
          return answers(404, "NoSuchUpload")(request, response);
        });
      };
      await withServer(forgetful, async (settings) => {
        const s3 = new S3(settings, FEW);
        const put = s3.put(
          { bucket: "some-bucket", key: "x" },
          (async function* () {
            yield new Uint8Array(9_000_000);
          })(),
        );
        if (size > 1) await put;
        else await assert.rejects(put, isError("STORE_FAILED", /NoSuchUpload/));
        s3.close();
      });
    }
  });
});
