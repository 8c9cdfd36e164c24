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
/** SeaweedFS checks signatures; the other servers accept any. */
const signatures = !server.name.startsWith("SeaweedFS") && `${server.name} checks no signatures`;

/** Opens a store as a command does, and checks that it fails with one line. */
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

/** Runs with other environment variables, which the SDK reads when a client is created. */
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

/** A server that answers as `listener` does: with Amazon's answers that the test servers never give. */
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

describe(`an error of S3 is one line (${server.name})`, () => {
  const host = new URL(server.endpoint).host;

  test("a missing bucket", async () => {
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

  test("a port without a listener, and an unknown host", async () => {
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

  test("a bucket in another region, with its name if the server sends it", async () => {
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

  test("forbidden: a store with only the right to read opens, and its first write fails", async () => {
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

  test("a server that is not S3, and one with an answer that cannot be parsed", async () => {
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

  test("a server without conditional writes is recognized, by its error and by its behaviour", async () => {
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

  test("an invalid endpoint, and an object larger than requested", async () => {
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

  test("a server without ranges sends the whole object again, and no byte is returned twice", async () => {
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

  test("an upload in pieces whose last answer was lost succeeds if the object exists, but not if it is another one", async () => {
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
