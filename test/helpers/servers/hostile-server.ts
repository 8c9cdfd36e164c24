import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Answer = (response: ServerResponse, request: IncomingMessage, count: number) => void;

/** What a hostile server saw, and where it is. `count` given to the answer is the request's number, from 1. */
export type HostileServer = AsyncDisposable & {
  origin: string;
  port: number;
  requests: IncomingMessage[];
  connections: () => number;
};

/** An HTTP server on a free port that answers every request as the test says, however wrong that is. */
export async function hostileServer(answer: Answer, host = "127.0.0.1", port = 0): Promise<HostileServer> {
  const requests: IncomingMessage[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    response.on("error", () => {});
    requests.push(request);
    answer(response, request, requests.length);
  });
  server.on("connection", () => {
    connections++;
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  return {
    origin: `http://${host}:${address.port}`,
    port: address.port,
    requests,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
