import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { LabelmillError, messageOf } from "../errors.ts";

/** Why a process is not ready. Answers name nothing else: the port may be open to all. */
export type NotReady = "starting" | "stopping" | "no connection to Redis";

export type HealthOptions = {
  host: string;
  /** 0: a free one. */
  port: number;
  /** True if the process can do work now, else the reason. */
  ready: () => true | NotReady;
};

/** The port with `/health/live` and `/health/ready`. */
export type Health = { port: number; close(): Promise<void> };

const MAX_CONNECTIONS = 100;
const TIMEOUT_MS = 5_000;

/**
 * Opens the health port. `/health/live` answers 200 while the process runs, `/health/ready` 200 or 503.
 * @throws LabelmillError CONFIG_INVALID if it cannot listen there
 */
export async function openHealth({ host, port, ready }: HealthOptions): Promise<Health> {
  const server = createServer({ requestTimeout: TIMEOUT_MS, headersTimeout: TIMEOUT_MS }, (request, response) => {
    const { status, text } = answer(request.url ?? "", request.method ?? "", ready);
    const headers = { "content-type": "application/json", "cache-control": "no-store", ...allowed(status) };
    response.writeHead(status, headers).end(request.method === "HEAD" ? "" : JSON.stringify({ status: text }));
    // A probe has no body. What it sends is not read.
    request.resume();
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.keepAliveTimeout = TIMEOUT_MS;
  server.setTimeout(TIMEOUT_MS);
  server.on("clientError", (_error, socket) => socket.destroy());
  await listen(server, host, port);
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function answer(url: string, method: string, ready: HealthOptions["ready"]): { status: number; text: string } {
  const path = url.split("?")[0];
  if (path !== "/health/live" && path !== "/health/ready") return { status: 404, text: "unknown path" };
  if (method !== "GET" && method !== "HEAD") return { status: 405, text: "unknown method" };
  if (path === "/health/live") return { status: 200, text: "live" };
  const state = ready();
  return state === true ? { status: 200, text: "ready" } : { status: 503, text: state };
}

function allowed(status: number): Record<string, string> {
  return status === 405 ? { allow: "GET, HEAD" } : {};
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  try {
    await once(server.listen({ host, port }), "listening");
  } catch (error) {
    throw new LabelmillError(
      "CONFIG_INVALID",
      `expected to open the health port on ${host}:${port}, got ${messageOf(error)}: set --health-port or --health-host`,
      { cause: error },
    );
  }
}
