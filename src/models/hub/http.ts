import { LabelmillError } from "../../errors.ts";
import { type HttpAnswer, tryHttp } from "../../retry/http.ts";
import { type RetryOptions, retry } from "../../retry/retry.ts";
import { TransientError } from "../../retry/transient-error.ts";

export const HUB_LIMITS = {
  /** Tries of one request, the first one included. Progress of a download starts the count again. */
  tries: 6,
  /** The bytes that a try of a download must add to count as progress. */
  progressBytes: 64 * 1024,
  /** The wait before the second try is between half of this and this. It doubles with each try, up to `maxDelayMs`. */
  delayMs: 500,
  maxDelayMs: 10_000,
  /** The longest wait that a server's Retry-After is granted. */
  maxRetryAfterMs: 60_000,
  /** A connection without traffic for this long is closed. */
  silentMs: 30_000,
  redirects: 5,
  /** Concurrent requests, over all files. */
  atOnce: 6,
  /** Larger files are downloaded in ranges of this size. */
  rangeBytes: 32 * 1024 * 1024,
};
export type HubLimits = typeof HUB_LIMITS;

export type HubRequest = {
  method: "HEAD" | "GET";
  /** On the hub, after the endpoint. */
  path: string;
  headers?: Record<string, string>;
  /** Whether the headers of a redirect suffice, so that it is not followed. */
  isEnough?: (redirect: Response) => boolean;
};

/** The answer to one request. */
export class HubAnswer implements HttpAnswer {
  readonly response: Response;
  /** Whether the hub itself answered, not a server that it redirected to. */
  readonly byHub: boolean;

  constructor(response: Response, byHub: boolean) {
    this.response = response;
    this.byHub = byHub;
  }

  get status(): number {
    return this.response.status;
  }

  header(name: string): string | null {
    return this.response.headers.get(name);
  }

  async drop(): Promise<void> {
    await this.response.body?.cancel().catch(() => {});
  }
}

/** Reads an answer. It calls `alive` when bytes arrive, and throws TransientError to ask for another try. */
type Read<T> = (answer: HubAnswer, alive: () => void) => Promise<T>;

/**
 * Requests to a hub by Node's own fetch, which uses the environment's proxy if Node is configured so. Redirects are followed
 * here: the token is sent to the hub's origin only, and https never becomes http.
 */
export class HubHttp {
  readonly limits: HubLimits;
  readonly signal: AbortSignal;
  /** Without a `/` at its end; safe to print. */
  readonly endpoint: string;
  readonly hasToken: boolean;
  readonly #token: string | undefined;

  /** @throws LabelmillError CONFIG_INVALID for an invalid endpoint or token; their values are not printed */
  constructor(options: { endpoint: string; token?: string | undefined; limits: HubLimits; signal: AbortSignal }) {
    this.endpoint = checkEndpoint(options.endpoint);
    this.#token = checkToken(options.token);
    this.hasToken = this.#token !== undefined;
    this.limits = options.limits;
    this.signal = options.signal;
  }

  /**
   * Sends the request until `read` succeeds or no try is left.
   *
   * @param next called for each try, which may ask for less than the one before
   * @param read receives answers of any status except 408, 425, 429 and 5xx
   * @param done bytes downloaded so far, which show progress
   * @throws LabelmillError MODEL_UNAVAILABLE (after all tries, or where another would fail the same way), ABORTED
   */
  async request<T>(next: () => HubRequest, read: Read<T>, done: () => number = () => 0): Promise<T> {
    let current: HubRequest;
    const options = this.#retryOptions(() => current);
    return await retry(async (tries) => {
      current = next();
      const before = done();
      try {
        return await this.#try(current, read);
      } catch (error) {
        if (done() - before >= this.limits.progressBytes) tries.reset();
        throw error;
      }
    }, options);
  }

  #retryOptions(current: () => HubRequest): RetryOptions {
    const { tries, delayMs, maxDelayMs, maxRetryAfterMs } = this.limits;
    return {
      tries,
      backoff: { firstMs: delayMs, maxMs: maxDelayMs, jitter: 0.5 },
      signal: this.signal,
      aborted,
      onFailure: (error, { failed, isLast }) => {
        if (!(error instanceof TransientError)) throw error;
        if (isLast) throw this.#unavailable(current(), `${error.message} (tried ${failed} times)`, error);
        return Math.min(error.retryAfterMs, maxRetryAfterMs);
      },
    };
  }

  async #try<T>(request: HubRequest, read: Read<T>): Promise<T> {
    const { silentMs, redirects: maxRedirects } = this.limits;
    const { path, isEnough } = request;
    return await tryHttp<HubAnswer, T>({
      url: new URL(`${this.endpoint}/${path}`),
      maxRedirects,
      timeoutMs: silentMs,
      timeoutMessage: `no data for ${silentMs} ms`,
      signal: this.signal,
      aborted,
      send: (url, signal) => this.#send(request, url, signal),
      isFinal: ({ response }) => isEnough?.(response) ?? false,
      target: (from, { response }) => this.#target(from, response.headers.get("location"), path),
      tooManyRedirects: () => this.#unavailable(request, `more than ${maxRedirects} redirects`),
      read: (answer, _url, alive) => read(answer, alive),
      // fetch throws TypeError ("fetch failed", "terminated") with the reason as its cause. Anything else is an error of `read`.
      networkError: (error) => (error instanceof TypeError ? (error.cause ?? error) : undefined),
      permanent: (error, got) => this.#unavailable(request, got, error),
    });
  }

  async #send({ method, headers }: HubRequest, url: URL, signal: AbortSignal): Promise<HubAnswer> {
    const byHub = url.origin === new URL(this.endpoint).origin;
    const response = await fetch(url, {
      method,
      redirect: "manual",
      headers: {
        "user-agent": "labelmill",
        // Sizes and ranges refer to the file without an encoding.
        "accept-encoding": "identity",
        ...headers,
        ...(byHub && this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
      },
      signal,
    });
    return new HubAnswer(response, byHub);
  }

  #target(from: URL, location: string | null, path: string): URL {
    const to = location === null ? null : URL.parse(location, from.href);
    if (!to || !/^https?:$/.test(to.protocol) || to.username !== "" || to.password !== "")
      throw this.#unavailable({ path }, "a redirect without an http or https address");
    if (from.protocol === "https:" && to.protocol !== "https:")
      throw this.#unavailable({ path }, `a redirect from https to ${to.origin}, which is not followed`);
    return to;
  }

  #unavailable({ path }: { path: string }, got: string, cause?: unknown): LabelmillError {
    const message = `${this.endpoint}/${path}: expected an answer of the hub, got ${got}; try it later, or set HF_ENDPOINT to a hub that can be reached`;
    return new LabelmillError("MODEL_UNAVAILABLE", message, { cause });
  }
}

/** @throws LabelmillError the signal's own reason, or ABORTED */
export function throwIfAborted(signal: AbortSignal): void {
  if (signal.aborted) throw aborted(signal.reason);
}

function aborted(reason: unknown): LabelmillError {
  if (reason instanceof LabelmillError) return reason;
  const message = "the download of the model was stopped; the same command continues it";
  return new LabelmillError("ABORTED", message, { cause: reason });
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
  // fetch's own error for an invalid header would contain the token.
  if (/^[\x21-\x7e]{1,1000}$/.test(token)) return token;
  throw new LabelmillError("CONFIG_INVALID", "HF_TOKEN: expected a token of printable ASCII characters, got another");
}
