import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** @param count the number of the request, from 1 */
export type Answer = (response: ServerResponse, request: IncomingMessage, count: number) => void;

/** The address of a hostile server, and the requests and connections that it received. */
export type HostileServer = AsyncDisposable & {
  origin: string;
  port: number;
  requests: IncomingMessage[];
  connections: () => number;
};

/** Starts an HTTP server that answers every request with `answer`, also against the protocol. Default port: a free one. */
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
