import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";
import { type Caller, hasScope, LOCAL_CALLER } from "./caller.ts";
import type { KeyRing } from "./keys/key-ring.ts";
import { Problem } from "./problems.ts";

/** The longest key that is hashed. */
const MAX_KEY_LENGTH = 512;

/** Headers that proxies add. They are used to refuse requests only: any client can set them. */
const FORWARDED = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/** The caller of a route that authenticates its callers itself. */
const UNKNOWN_CALLER: Caller = { owner: "", scopes: new Set() };

/** Whether only processes of this machine can connect to an address. A host name other than localhost may be any address. */
export function isLoopback(host: string): boolean {
  const name = host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/^::ffff:(?=\d+\.)/, "");
  return name === "localhost" || name === "::1" || (isIP(name) === 4 && name.startsWith("127."));
}

/** Decides who sent a request, and whether it may use the route. */
export class Access {
  readonly #host: string;
  readonly #keys: KeyRing;

  /** @param host the address on which the server listens */
  constructor(host: string, keys: KeyRing) {
    this.#host = host;
    this.#keys = keys;
  }

  /**
   * The caller of a request.
   * @param scope what it needs. Default: the scope of the route
   * @throws Problem 401 without a valid key, 403 without the scope of the route or from a web page of another site
   */
  async callerOf(request: FastifyRequest, scope = request.routeOptions.config.scope): Promise<Caller> {
    if (isLoopback(this.#host) && !(await this.#keys.hasAny())) {
      this.#refuseOthers(request);
      return scope === null ? UNKNOWN_CALLER : LOCAL_CALLER;
    }
    if (scope === null) return UNKNOWN_CALLER;
    const caller = await this.#withKey(keyIn(request));
    if (scope && !hasScope(caller, scope))
      throw new Problem(
        403,
        "FORBIDDEN",
        `expected a key with the scope ${scope}, got one with ${[...caller.scopes].join(", ")}`,
      );
    return caller;
  }

  async #withKey(key: string | undefined): Promise<Caller> {
    const caller = key === undefined || key.length > MAX_KEY_LENGTH ? undefined : await this.#keys.find(key);
    if (caller) return caller;
    const got = key === undefined ? "got none" : "got one that is unknown or revoked";
    throw new Problem(401, "UNAUTHORIZED", `expected a key in \`Authorization: Bearer KEY\` or \`x-api-key\`, ${got}`, {
      "www-authenticate": 'Bearer realm="labelmill"',
    });
  }

  /**
   * Without keys, a proxy of this machine would open the server to others. It may add the headers by which it is noticed. A web page in a browser of this machine could send requests. Its own site is visible in `Host` if its name leads here
   * (DNS rebinding), else in `Origin` and `Sec-Fetch-Site`.
   */
  #refuseOthers({ headers }: FastifyRequest): void {
    if (FORWARDED.some((name) => headers[name] !== undefined))
      throw new Problem(403, "FORBIDDEN", "expected a program of this machine, got a request of a proxy: create a key");
    const url = URL.parse(`http://${headers.host ?? ""}`);
    const known = ["localhost", "127.0.0.1", "[::1]", hostInUrl(this.#host)];
    if (!url || headers.host?.includes("@") || !known.includes(url.hostname))
      throw new Problem(
        403,
        "FORBIDDEN",
        `expected a \`Host\` of this machine, such as localhost: create a key to use other names`,
      );
    const origin = headers.origin;
    const site = headers["sec-fetch-site"];
    if (
      (origin !== undefined && origin !== url.origin) ||
      (site !== undefined && site !== "same-origin" && site !== "none")
    )
      throw new Problem(
        403,
        "FORBIDDEN",
        "expected a program, got a web page of another site: pages may not use this server",
      );
  }
}

function hostInUrl(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host.toLowerCase();
}

function keyIn({ headers }: FastifyRequest): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
  const header = headers["x-api-key"];
  return bearer ?? (typeof header === "string" && header !== "" ? header : undefined);
}
