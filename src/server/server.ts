import type { AddressInfo } from "node:net";
import { LabelmillError, messageOf, systemCode } from "../errors.ts";
import { isLoopback } from "./access.ts";
import { buildApp } from "./app.ts";
import type { App, ServerDeps } from "./deps.ts";
import { MAX_CONNECTIONS } from "./limits/connection-limits.ts";

/** A server that listens. */
export type RunningServer = {
  app: App;
  /** `http://HOST:PORT`, without a slash at its end. */
  url: string;
  /** Whether it is connected to Redis. */
  readonly isReady: boolean;
  /** Whether requests need a key. */
  needsKey(): Promise<boolean>;
  /** Takes no more connections, and closes when all requests are answered. Breaks the connections of the others after `graceMs`. */
  close(graceMs: number): Promise<void>;
};

/**
 * Starts the server on the host and port of the settings.
 * @throws LabelmillError CONFIG_INVALID if it cannot listen there
 */
export async function startServer(deps: ServerDeps): Promise<RunningServer> {
  const { host, port } = deps.config;
  const app = buildApp(deps);
  app.server.maxConnections = MAX_CONNECTIONS;
  try {
    await app.listen({ host, port });
  } catch (error) {
    await app.close();
    throw cannotListen(host, port, error);
  }
  const addresses = (app.addresses() as AddressInfo[]).map(({ address }) => address);
  const foreign = isLoopback(host) ? addresses.find((address) => !isLoopback(address)) : undefined;
  if (foreign !== undefined) {
    await app.close();
    throw new LabelmillError(
      "CONFIG_INVALID",
      `--host ${host}: expected an address of this machine only, got ${foreign}: set --host to 127.0.0.1`,
    );
  }
  return {
    app,
    url: urlOf(app.server.address() as AddressInfo),
    get isReady() {
      return deps.redisWatch.isUp;
    },
    needsKey: async () => !isLoopback(host) || deps.keys.hasAny(),
    close: (graceMs) => closeApp(app, graceMs),
  };
}

async function closeApp(app: App, graceMs: number): Promise<void> {
  const late = setTimeout(() => app.server.closeAllConnections(), graceMs);
  // Node closes connections that are idle now. Those of answers that end later would stay open until their keep-alive time is over.
  const idle = setInterval(() => app.server.closeIdleConnections(), IDLE_CHECK_MS);
  try {
    await app.close();
  } finally {
    clearTimeout(late);
    clearInterval(idle);
  }
}

const IDLE_CHECK_MS = 50;

const FIXES: Record<string, string> = {
  EADDRINUSE: "another process listens there: stop it, or set --port",
  EACCES: "this user may not open the port: set --port to 1024 or more",
  EADDRNOTAVAIL: "this machine does not have the address: set --host to one of its addresses",
  ENOTFOUND: "the host name is unknown: set --host to an address of this machine",
};

function cannotListen(host: string, port: number, error: unknown): unknown {
  const fix = FIXES[systemCode(error) ?? ""];
  if (fix === undefined) return error;
  return new LabelmillError(
    "CONFIG_INVALID",
    `expected to listen on ${host}:${port}, got ${messageOf(error)}: ${fix}`,
    {
      cause: error,
    },
  );
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}
