import { setTimeout as delay } from "node:timers/promises";
import { LabelmillError, messageOf, systemCode } from "../../errors.ts";

export const HUB_LIMITS = {
  /** Tries of one request, the first among them. Progress of a download starts the count again. */
  tries: 6,
  /** What a try of a download has to bring to count as progress. */
  progressBytes: 64 * 1024,
  /** The pause before the second try is between half of this and this; it doubles with each, up to `maxDelayMs`. */
  delayMs: 500,
  maxDelayMs: 10_000,
  /** What `Retry-After` asks for is waited for up to this. */
  maxRetryAfterMs: 60_000,
  /** A connection on which nothing moves for that long is given up. */
  silentMs: 30_000,
  redirects: 5,
  /** Requests at once, over all files. */
  atOnce: 6,
  /** Larger files are asked for in ranges of this size. */
  rangeBytes: 32 * 1024 * 1024,
};
export type HubLimits = typeof HUB_LIMITS;

export type HubRequest = {
  method: "HEAD" | "GET";
  /** On the hub, after the endpoint. */
  path: string;
  headers?: Record<string, string>;
  /** Whether a redirect already says what is asked for, so that it is not followed. */
  isEnough?: (redirect: Response) => boolean;
};

export type HubAnswer = {
  response: Response;
  /** Whether the hub itself answered, not a server that it sent us to. */
  byHub: boolean;
};

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const TRY_AGAIN_STATUSES = new Set([408, 425, 429]);

/** Failures of a connection that another try may not meet. A name without an address and a bad certificate are none. */
const TRY_AGAIN_CODES = new Set([
  ...["ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH"],
  ...["ENETDOWN", "EAI_AGAIN", "UND_ERR_SOCKET", "UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT"],
  ...["UND_ERR_BODY_TIMEOUT", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "EMFILE", "ENFILE", "EADDRNOTAVAIL"],
]);

/** A try that failed in a way that the next one may not. The message completes "the hub could not be asked: …". */
export class Passing extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}

/**
 * Requests to a hub by Node's own fetch, which also takes the proxy of the environment where Node is told to. Redirects are
 * followed here: the token stays with the hub's origin, and https stays https.
 */
export class HubHttp {
  readonly limits: HubLimits;
  readonly signal: AbortSignal;
  /** Without a `/` at its end; safe to print. */
  readonly endpoint: string;
  readonly hasToken: boolean;
  readonly #token: string | undefined;

  /** @throws LabelmillError CONFIG_INVALID for an endpoint or a token that can be none; their values are not printed */
  constructor(options: { endpoint: string; token?: string | undefined; limits: HubLimits; signal: AbortSignal }) {
    this.endpoint = checkEndpoint(options.endpoint);
    this.#token = checkToken(options.token);
    this.hasToken = this.#token !== undefined;
    this.limits = options.limits;
    this.signal = options.signal;
  }

  /**
   * Asks until `read` has what it wants or the tries are used up. `read` is called with the answer to one try, whatever its
   * status but 408, 425, 429 and 5xx, and says by `alive` that something came; it throws `Passing` for another try.
   *
   * @param request called for each try, which may ask for less than the one before
   * @param done bytes that are here so far, by which progress is seen
   * @throws LabelmillError MODEL_UNAVAILABLE (after all tries, or where another would fail the same way), ABORTED
   */
  async ask<T>(
    request: () => HubRequest,
    read: (answer: HubAnswer, alive: () => void) => Promise<T>,
    done: () => number = () => 0,
  ): Promise<T> {
    for (let failed = 1; ; failed++) {
      const before = done();
      const asked = request();
      try {
        return await this.#try(asked, read);
      } catch (error) {
        throwIfAborted(this.signal);
        if (!(error instanceof Passing)) throw error;
        if (done() - before >= this.limits.progressBytes) failed = 1;
        if (failed >= this.limits.tries)
          throw this.#unavailable(asked, `${error.message} (tried ${failed} times)`, error);
        await this.#pause(failed, error.retryAfterMs);
      }
    }
  }

  async #try<T>(request: HubRequest, read: (answer: HubAnswer, alive: () => void) => Promise<T>): Promise<T> {
    throwIfAborted(this.signal);
    const { silentMs } = this.limits;
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(new Passing(`nothing came for ${silentMs} ms`)), silentMs);
    const signal = AbortSignal.any([this.signal, silence.signal]);
    let answer: HubAnswer | undefined;
    try {
      answer = await this.#follow(request, signal);
      const { status, headers } = answer.response;
      if (status >= 500 || TRY_AGAIN_STATUSES.has(status))
        throw new Passing(`status ${status}`, { retryAfterMs: retryAfterMs(headers.get("retry-after"), Date.now()) });
      return await read(answer, () => timer.refresh());
    } catch (error) {
      if (silence.signal.aborted) throw silence.signal.reason;
      throw this.#translate(error, request);
    } finally {
      clearTimeout(timer);
      await drop(answer?.response);
    }
  }

  async #follow({ method, path, headers = {}, isEnough }: HubRequest, signal: AbortSignal): Promise<HubAnswer> {
    const hub = new URL(this.endpoint).origin;
    let url = new URL(`${this.endpoint}/${path}`);
    for (let redirects = 0; ; redirects++) {
      const byHub = url.origin === hub;
      const response = await fetch(url, {
        method,
        redirect: "manual",
        headers: {
          "user-agent": "labelmill",
          // Sizes and ranges are of the file as it is.
          "accept-encoding": "identity",
          ...headers,
          ...(byHub && this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
        },
        signal,
      });
      if (!REDIRECTS.has(response.status) || isEnough?.(response)) return { response, byHub };
      await drop(response);
      if (redirects === this.limits.redirects) throw this.#unavailable({ path }, `more than ${redirects} redirects`);
      url = this.#target(url, response.headers.get("location"), path);
    }
  }

  #target(from: URL, location: string | null, path: string): URL {
    const to = location === null ? null : URL.parse(location, from.href);
    if (!to || !/^https?:$/.test(to.protocol) || to.username !== "" || to.password !== "")
      throw this.#unavailable({ path }, "a redirect that leads to no http or https address");
    if (from.protocol === "https:" && to.protocol !== "https:")
      throw this.#unavailable({ path }, `a redirect from https to ${to.origin}, which is not followed`);
    return to;
  }

  /** What is ours as it is, what may pass as Passing, the rest as MODEL_UNAVAILABLE. */
  #translate(error: unknown, request: HubRequest): unknown {
    if (error instanceof LabelmillError || error instanceof Passing) return error;
    // fetch says "fetch failed" or "terminated", and why in the cause.
    if (!(error instanceof TypeError)) return error;
    const cause = error.cause ?? error;
    const code = systemCode(cause) ?? (cause instanceof AggregateError ? systemCode(cause.errors[0]) : undefined);
    if (code !== undefined && TRY_AGAIN_CODES.has(code)) return new Passing(code, { cause: error });
    return this.#unavailable(request, code ?? messageOf(cause), error);
  }

  #unavailable({ path }: { path: string }, got: string, cause?: unknown): LabelmillError {
    const message = `${this.endpoint}/${path}: expected an answer of the hub, got ${got}; try it later, or set HF_ENDPOINT to a hub that can be reached`;
    return new LabelmillError("MODEL_UNAVAILABLE", message, { cause });
  }

  async #pause(failed: number, retryAfterMs: number): Promise<void> {
    const { delayMs, maxDelayMs, maxRetryAfterMs } = this.limits;
    const backoff = Math.min(maxDelayMs, delayMs * 2 ** (failed - 1)) * (0.5 + Math.random() / 2);
    const pause = Math.max(backoff, Math.min(retryAfterMs, maxRetryAfterMs));
    await delay(pause, undefined, { signal: this.signal }).catch(() => throwIfAborted(this.signal));
  }
}

/** @throws LabelmillError the signal's own reason, or ABORTED */
export function throwIfAborted(signal: AbortSignal): void {
  if (!signal.aborted) return;
  const reason: unknown = signal.reason;
  if (reason instanceof LabelmillError) throw reason;
  throw new LabelmillError("ABORTED", "the download of the model was stopped: the same command goes on", {
    cause: reason,
  });
}

/** How long a Retry-After header, in seconds or as a date, asks to wait from `now` on: ms, 0 if it says nothing. */
function retryAfterMs(header: string | null, now: number): number {
  if (header === null) return 0;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}

/** Lets go of an answer that is not read to its end. */
async function drop(response: Response | undefined): Promise<void> {
  await response?.body?.cancel().catch(() => {});
}

function checkEndpoint(endpoint: string): string {
  const url = URL.parse(endpoint);
  const isPlain = url && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (isPlain && /^https?:$/.test(url.protocol)) return url.href.replace(/\/+$/, "");
  throw new LabelmillError(
    "CONFIG_INVALID",
    "HF_ENDPOINT: expected an http or https address without user, password and query, got another",
  );
}

function checkToken(token: string | undefined): string | undefined {
  if (token === undefined || token === "") return undefined;
  // What fetch says of a header that it refuses holds the header.
  if (/^[\x21-\x7e]{1,1000}$/.test(token)) return token;
  throw new LabelmillError("CONFIG_INVALID", "HF_TOKEN: expected a token of printable ASCII characters, got another");
}
