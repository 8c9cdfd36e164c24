import type { IncomingHttpHeaders, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";
import { type HostileServer, hostileServer } from "./hostile-server.ts";

export type Received = { path: string; headers: IncomingHttpHeaders; body: string };

/** Answers a request. @param count the number of the request, from 1 */
export type WebhookAnswer = (response: ServerResponse, received: Received, count: number) => void;

/** An HTTP server that keeps the webhooks it receives. Default answer: 204. */
export class WebhookReceiver implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly #server: HostileServer;
  #onRequest: () => void = () => {};

  private constructor(server: HostileServer) {
    this.#server = server;
  }

  static async start(
    answer: WebhookAnswer = (response) => response.writeHead(204).end(),
    host = "127.0.0.1",
  ): Promise<WebhookReceiver> {
    const server = await hostileServer(async (response, request) => {
      const received = { path: request.url!, headers: request.headers, body: await text(request) };
      const count = receiver.received.push(received);
      answer(response, received, count);
      receiver.#onRequest();
    }, host);
    const receiver = new WebhookReceiver(server);
    return receiver;
  }

  get url(): string {
    return `${this.#server.origin}/hook`;
  }

  get port(): number {
    return this.#server.port;
  }

  connections(): number {
    return this.#server.connections();
  }

  /** The ids of the received webhooks, in their order. */
  ids(): string[] {
    return this.received.map(({ headers }) => String(headers["webhook-id"]));
  }

  /** Waits until `count` webhooks are received. */
  async until(count: number): Promise<Received[]> {
    while (this.received.length < count) {
      await new Promise<void>((resolve) => {
        this.#onRequest = resolve;
      });
    }
    return this.received;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }
}

/** Verifies a webhook with the library of the specification. @returns its parsed body. @throws WebhookVerificationError */
export function verified({ headers, body }: Received, secret: string): unknown {
  return new Webhook(secret).verify(body, headers as Record<string, string>);
}
