import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { findPulled } from "../../../src/models/hub/pull.ts";
import type { PullMessage, PullOrder } from "../../helpers/processes/pull-main.ts";
import { ONNX_BYTES, openHubPlace, QUICK, TINY, TINY_DIR } from "../../helpers/servers/hub-place.ts";
import type { Fault, HubRequest } from "../../helpers/servers/hub-server.ts";

const PULL_MAIN = fileURLToPath(new URL("../../helpers/processes/pull-main.ts", import.meta.url));

const isBytes = ({ method, origin }: HubRequest) => method === "GET" && origin === "cdn";
const isOnnxHead = ({ method, file }: HubRequest) => method === "HEAD" && file === "onnx/model.onnx";

describe("a hub with wrong answers", { concurrency: 2 }, () => {
  test("other bytes than announced, in both kinds of files: MODEL_HASH, nothing usable, and a clean next try", async () => {
    for (const wrong of ["onnx/model.onnx", "config.json"]) {
      await using place = await openHubPlace();
      const { hub, modelsDir, pull } = place;
      const body = await readFile(join(TINY_DIR, wrong));
      body[body.length - 1]! ^= 1;
      hub.fault = ({ method, file }) => (method === "GET" && file === wrong ? { body } : undefined);
      await assert.rejects(pull(), {
        code: "MODEL_HASH",
        retryable: false,
        message: new RegExp(`${wrong}: expected .* bytes with the hash`),
      });
      assert.equal(await findPulled(TINY, modelsDir), undefined);
      assert.deepEqual(await readdir(join(modelsDir, "tests--tiny-image")), []);
      hub.fault = () => undefined;
      await pull();
      assert.ok(await findPulled(TINY, modelsDir));
    }
  });

  test("a longer or a shorter file than announced", async () => {
    for (const size of [ONNX_BYTES - 1000, ONNX_BYTES + 1000])
      for (const more of [
        {},
        { ignoreRange: true },
        { ignoreRange: true, headers: { "content-length": undefined } },
      ] as Fault[]) {
        await using place = await openHubPlace();
        const { hub, modelsDir, pull } = place;
        const body = randomBytes(size);
        hub.fault = (request) => (isBytes(request) ? { body, ...more } : undefined);
        const code = more.headers && size < ONNX_BYTES ? "MODEL_UNAVAILABLE" : "MODEL_HASH";
        await assert.rejects(pull({}, { limits: { tries: 2 } }), { code });
        assert.equal(await findPulled(TINY, modelsDir), undefined);
        if (code === "MODEL_HASH") assert.equal(hub.requests.filter(isBytes).length, 1, "seen at once");
        hub.fault = () => undefined;
        // After a connection error the bytes are kept: then the hash shows the difference.
        if (code === "MODEL_UNAVAILABLE") await assert.rejects(pull(), { code: "MODEL_HASH" });
        await pull();
      }
  });

  test("no commit, another commit, no size, a giant size, no hash: refused with the reason", async () => {
    const cases: [Fault["headers"], RegExp, string?][] = [
      [{ "x-repo-commit": undefined }, /got no commit/],
      [{ "x-repo-commit": "../../etc" }, /got no commit/],
      [{ "x-repo-commit": "0".repeat(40) }, /expected the commit .* got 0{40}/, "MODEL_HASH"],
      [{ "x-linked-size": "a lot" }, /got no size/],
      [{ "x-linked-size": "9".repeat(30) }, /got a size of 9+ bytes, above/],
      [{ "x-linked-size": "-1" }, /got no size/],
      [{ "x-linked-etag": '"d41d8cd98f00b204e9800998ecf8427e"' }, /got no hash/],
    ];
    for (const [headers, message, code = "MODEL_UNAVAILABLE"] of cases) {
      await using place = await openHubPlace();
      place.hub.fault = (request) => (isOnnxHead(request) ? { headers: headers! } : undefined);
      await assert.rejects(place.pull(), { code, message, retryable: false });
      assert.deepEqual(await readdir(place.modelsDir), []);
    }
  });

  test("redirect loops and redirects to another scheme, with credentials or without a target: refused", async () => {
    for (const location of [
      "/tests/tiny-image/resolve/main/config.json",
      "file:///etc/passwd",
      "http://u:p@127.0.0.1/",
      undefined,
    ]) {
      await using place = await openHubPlace();
      place.hub.fault = () => ({ status: 302, headers: { location } });
      await assert.rejects(place.pull(), { code: "MODEL_UNAVAILABLE", message: /redirect/ });
    }
  });

  test("https never becomes http, and a self-signed certificate is refused at once", async () => {
    await using place = await openHubPlace();
    const pem = fileURLToPath(new URL("../../fixtures/self-signed.pem", import.meta.url));
    const certificate = await readFile(pem);
    let requests = 0;
    const server = createTlsServer({ key: certificate, cert: certificate }, (request, response) => {
      requests++;
      response.writeHead(302, { location: `${place.hub.endpoint}${request.url}` }).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const endpoint = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      await assert.rejects(place.pull({}, { endpoint }), { code: "MODEL_UNAVAILABLE", message: /SELF_SIGNED/ });
      assert.equal(requests, 0);

      const order: PullOrder = { source: TINY, options: { modelsDir: place.modelsDir, endpoint, limits: QUICK } };
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: pem };
      const [news] = (await once(fork(PULL_MAIN, [JSON.stringify(order)], { env }), "message")) as [PullMessage];
      assert.ok(news.is === "failed" && news.code === "MODEL_UNAVAILABLE", JSON.stringify(news));
      assert.match(news.message, /a redirect from https to http:\/\/127\.0\.0\.1:\d+, which is not followed/);
      assert.deepEqual([requests, place.hub.requests.length], [1, 0]);
    } finally {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    }
  });
});

describe("access", { concurrency: 2 }, () => {
  const token = `hf_${randomBytes(8).toString("hex")}`;
  const repos = { "tests/private": { files: TINY_DIR, token } };
  const PRIVATE = { repo: "tests/private" };

  test("the token opens a private model, and is sent to the hub's origin only", async () => {
    await using place = await openHubPlace({ repos });
    await place.pull(PRIVATE, { token });
    const { requests } = place.hub;
    assert.ok(requests.some(({ origin }) => origin === "cdn"));
    for (const { origin, headers } of requests)
      assert.equal(headers.authorization, origin === "hub" ? `Bearer ${token}` : undefined);
  });

  test("without a token, with a wrong or an invalid one: an error that does not contain it", async () => {
    await using place = await openHubPlace({ repos });
    const secret = "hf_s3cr3t";
    const notSecret = (message: RegExp) => (error: Error & { code: string }) => {
      assert.match(error.message, message);
      assert.doesNotMatch(`${error.message} ${error.stack} ${JSON.stringify(error)} ${error.cause}`, /s3cr3t/);
      return true;
    };
    await assert.rejects(place.pull(PRIVATE), { code: "MODEL_FORBIDDEN", message: /set HF_TOKEN/ });
    await assert.rejects(place.pull(PRIVATE, { token: secret }), {
      code: "MODEL_FORBIDDEN",
      message: /HF_TOKEN has no access.*ask for access at http/,
    });
    await assert.rejects(place.pull(PRIVATE, { token: secret }), notSecret(/HF_TOKEN/));
    await assert.rejects(place.pull(PRIVATE, { token: `${secret}\nx` }), notSecret(/HF_TOKEN: expected/));
    await assert.rejects(
      place.pull({}, { endpoint: `http://user:${secret}@127.0.0.1/` }),
      notSecret(/HF_ENDPOINT: expected/),
    );
    assert.deepEqual(await readdir(place.modelsDir), []);
  });

  test("an unknown model, revision, weights or config: named, with the existing ones", async () => {
    await using place = await openHubPlace({ repos: { "tests/empty": { files: { "model.bin": randomBytes(9) } } } });
    const { hub, pull } = place;
    const notFound = (message: RegExp) => ({ code: "MODEL_NOT_FOUND", message });
    await assert.rejects(
      pull({ repo: "tests/nothing" }, { token: "hf_x" }),
      notFound(/has no model tests\/nothing that HF_TOKEN may see/),
    );
    await assert.rejects(pull({ repo: "tests/nothing" }), {
      code: "MODEL_FORBIDDEN",
      message: /does not exist, or is not public/,
    });
    await assert.rejects(
      pull({ revision: "v9" }),
      notFound(/tests\/tiny-image .* has no revision v9; its branches and tags: main/),
    );
    await assert.rejects(
      pull({ dtype: "q8" }),
      notFound(
        /expected the file onnx\/model_quantized\.onnx, but it does not exist; its ONNX files: onnx\/model\.onnx/,
      ),
    );
    await assert.rejects(
      pull({ repo: "tests/empty" }),
      notFound(/expected the file config\.json, .*; its files: model\.bin/),
    );
    hub.fault = ({ path }) => (path.startsWith("/api/models/") ? { status: 404 } : undefined);
    await assert.rejects(pull({ dtype: "q8" }), notFound(/its ONNX files: unknown/));
    for (const source of [
      { repo: "gpt2" },
      { repo: "../up" },
      { repo: "a/.." },
      { revision: "a/../b" },
      { revision: "" },
    ])
      await assert.rejects(pull(source), { code: "USAGE" });
  });
});
