import { sign } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { LabelmillError } from "../../../src/errors.ts";
import { collect } from "../../../src/retry/read-body.ts";

export const TOPIC = "arn:aws:sns:eu-central-1:111122223333:uploads";
export const CERTIFICATE_URL =
  "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem";

/** A key and its certificate, each in PEM form. `other` is one that SNS does not have. */
export const SIGNER = readPem("signer");
export const OTHER_SIGNER = readPem("other");

function readPem(name: string): { key: string; certificate: string } {
  const pem = readFileSync(new URL(`../../fixtures/sns/${name}.pem`, import.meta.url), "utf8");
  const at = pem.indexOf("-----BEGIN CERTIFICATE-----");
  return { key: pem.slice(0, at), certificate: pem.slice(at) };
}

type Envelope = Record<string, string>;

/** Signs a message as SNS does. @param fields replace those of a notification; `Signature` stays if it is given */
export function signed(fields: Record<string, string | undefined>, { key } = SIGNER): Envelope {
  const envelope: Record<string, string | undefined> = {
    Type: "Notification",
    MessageId: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    TopicArn: TOPIC,
    Message: "",
    Timestamp: new Date().toISOString(),
    SignatureVersion: "2",
    SigningCertURL: CERTIFICATE_URL,
    ...fields,
  };
  const names =
    envelope.Type === "Notification"
      ? ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
      : ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
  const text = names.flatMap((name) => (envelope[name] === undefined ? [] : [`${name}\n${envelope[name]}\n`])).join("");
  const digest = envelope.SignatureVersion === "1" ? "RSA-SHA1" : "RSA-SHA256";
  return { Signature: sign(digest, Buffer.from(text), key).toString("base64"), ...envelope } as Envelope;
}

export type TestSns = AsyncDisposable & {
  /** The paths of the requests. */
  requests: string[];
  /** The answer to a path. Default: the certificate of SNS. */
  answer: (path: string) => { status: number; body: string };
  /** Fetches a URL of SNS from this server instead, over TLS with a checked certificate. */
  fetch(url: URL): Promise<Uint8Array>;
};

/** Starts an https server in the place of SNS. */
export async function startSns(): Promise<TestSns> {
  const requests: string[] = [];
  const server = createServer({ key: SIGNER.key, cert: SIGNER.certificate }, (received, response) => {
    requests.push(received.url!);
    const { status, body } = sns.answer(received.url!);
    response.writeHead(status).end(body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const sns: TestSns = {
    requests,
    answer: () => ({ status: 200, body: SIGNER.certificate }),
    async fetch(url) {
      const options = { host: "127.0.0.1", port, servername: "sns.amazonaws.com", ca: SIGNER.certificate };
      const sent = request({ ...options, path: url.pathname + url.search, headers: { host: url.host } }).end();
      const [response] = await once(sent, "response");
      const body = await collect(response, { maxBytes: 100_000, tooLarge: () => new Error("too large") });
      if (response.statusCode >= 500) throw new LabelmillError("FETCH_UNAVAILABLE", `status ${response.statusCode}`);
      if (response.statusCode >= 400) throw new LabelmillError("IMAGE_NOT_FOUND", `status ${response.statusCode}`);
      return body;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return sns;
}
