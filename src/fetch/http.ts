import { setTimeout as delay } from "node:timers/promises";
import { Agent, type Dispatcher } from "undici";
import { LabelmillError, messageOf, systemCode } from "../errors.ts";
import { collect, tooLarge } from "./collect.ts";
import { guardedLookup, guardUrl, type Resolve } from "./guard.ts";
import type { FetchLimits } from "./limits.ts";
import { show, showUrl } from "./show.ts";

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const TRY_AGAIN_STATUSES = new Set([408, 425, 429]);
const GONE = new Set([404, 410]);

/** Failures of a connection that another try may not meet: the peer's, the network's, and this machine's own limits. */
const TRY_AGAIN_CODES = new Set([
  ...["ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH"],
  ...["ENETDOWN", "EAI_AGAIN", "UND_ERR_SOCKET", "UND_ERR_CONNECT_TIMEOUT", "EMFILE", "ENFILE", "EADDRNOTAVAIL"],
]);

/** A try that failed in a way that the next one may not. The message completes "expected an image, got …". */
class Unavailable extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, options: { retryAfterMs?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
}

/** Fetches over http and https, through the guard, within the limits. Holds connections for reuse: close it. */
export class HttpFetcher {
  readonly #agent: Agent;
  readonly #allowPrivate: boolean;
  readonly #limits: FetchLimits;

  /** @param options.resolve the name resolver, the system's by default */
  constructor(options: { allowPrivate: boolean; limits: FetchLimits; resolve?: Resolve | undefined }) {
    this.#allowPrivate = options.allowPrivate;
    this.#limits = options.limits;
    this.#agent = new Agent({
      allowH2: false,
      // The timer of a try bounds both, from its start: these two would only count silence.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: {
        lookup: guardedLookup(options.allowPrivate, options.resolve),
        timeout: options.limits.connectTimeoutMs,
        // Said aloud, because the environment (NODE_TLS_REJECT_UNAUTHORIZED) could turn it off.
        rejectUnauthorized: true,
      },
    });
  }

  /**
   * The body of a 2xx answer, at most `maxBytes` long. Which type the server says it is does not matter: the decoder decides.
   *
   * @throws LabelmillError URL_REFUSED (the guard), IMAGE_NOT_FOUND (404, 410), FETCH_FAILED (any other answer that a
   * further try would meet again), FETCH_TOO_LARGE, FETCH_UNAVAILABLE (after all tries), ABORTED (by `signal`, at once)
   */
  async get(url: URL, signal: AbortSignal): Promise<Uint8Array> {
    for (let tried = 1; ; tried++) {
      try {
        return await this.#try(url, signal);
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        if (tried >= this.#limits.tries) {
          const message = `${showUrl(url)}: expected an image, got ${error.message} (tried ${tried} times); try it later`;
          throw new LabelmillError("FETCH_UNAVAILABLE", message, { cause: error });
        }
        await this.#pause(tried, error.retryAfterMs, signal);
      }
    }
  }

  /** Drops the connections; fetches under way end with ABORTED. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #pause(tried: number, retryAfterMs: number, signal: AbortSignal): Promise<void> {
    const { backoffMs, maxRetryAfterMs } = this.#limits;
    const backoff = backoffMs * 2 ** (tried - 1) * (0.5 + Math.random() / 2);
    try {
      await delay(Math.max(backoff, Math.min(retryAfterMs, maxRetryAfterMs)), undefined, { signal });
    } catch {
      throw aborted(signal.reason);
    }
  }

  /** One try under one timer. It is left at once when the time is over or `signal` fires, whatever undici still waits for. */
  async #try(url: URL, signal: AbortSignal): Promise<Uint8Array> {
    if (signal.aborted) throw aborted(signal.reason);
    const { timeoutMs } = this.#limits;
    const end = new AbortController();
    const left = Promise.withResolvers<never>();
    const leave = (reason: Error) => {
      left.reject(reason);
      end.abort(reason);
    };
    const cancel = () => leave(aborted(signal.reason));
    const timer = setTimeout(() => leave(new Unavailable(`no full answer within ${timeoutMs} ms`)), timeoutMs);
    signal.addEventListener("abort", cancel, { once: true });
    try {
      return await Promise.race([this.#follow(url, end.signal), left.promise]);
    } catch (error) {
      throw translate(error, url);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", cancel);
    }
  }

  async #follow(first: URL, signal: AbortSignal): Promise<Uint8Array> {
    let url = first;
    for (let redirects = 0; ; redirects++) {
      if (redirects > this.#limits.maxRedirects) {
        throw failed(first, `an answer after at most ${this.#limits.maxRedirects} redirects`, "one more redirect");
      }
      guardUrl(url, this.#allowPrivate);
      signal.throwIfAborted();
      const response = await this.#agent.request({
        origin: url.origin,
        path: url.pathname + url.search,
        method: "GET",
        headers: { "user-agent": "labelmill", "accept-encoding": "identity" },
        signal,
      });
      // Without a listener, the error of a body that nobody reads would end the process.
      response.body.on("error", () => {});
      try {
        if (!REDIRECTS.has(response.statusCode)) return await this.#read(url, response);
        url = redirectTarget(url, response.headers.location);
      } finally {
        // Drops the connection of an answer that was not read to its end, however much of it would come.
        response.body.destroy();
      }
    }
  }

  async #read(url: URL, response: Dispatcher.ResponseData): Promise<Uint8Array> {
    const { statusCode: status, headers, body } = response;
    if (GONE.has(status)) {
      throw new LabelmillError("IMAGE_NOT_FOUND", `${showUrl(url)}: expected an image, got status ${status}`);
    }
    if (status >= 500 || TRY_AGAIN_STATUSES.has(status)) {
      throw new Unavailable(`status ${status}`, { retryAfterMs: retryAfterMs(headers["retry-after"], Date.now()) });
    }
    if (status < 200 || status > 299) throw failed(url, "an image", `status ${status}`);
    // Nothing else was asked for, and a body that grows when it is decoded would need a limit of its own.
    const encoding = String(headers["content-encoding"] ?? "identity").trim();
    if (!/^(identity)?$/i.test(encoding)) throw failed(url, "an image as it is", `content-encoding ${show(encoding)}`);
    const { maxBytes } = this.#limits;
    if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes, showUrl(url));
    return await collect(body, maxBytes, showUrl(url));
  }
}

/** How long a Retry-After header, in seconds or as a date, asks to wait from `now` on: ms, 0 if it says nothing. */
export function retryAfterMs(header: string | string[] | undefined, now: number): number {
  if (typeof header !== "string") return 0;
  if (/^\s*\d+\s*$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? 0 : Math.max(0, date - now);
}

export function aborted(reason: unknown): LabelmillError {
  return new LabelmillError("ABORTED", "the fetch was cancelled", { cause: reason });
}

function failed(url: URL, expected: string, got: string, cause?: unknown): LabelmillError {
  return new LabelmillError("FETCH_FAILED", `${showUrl(url)}: expected ${expected}, got ${got}`, { cause });
}

/** The absolute URL that a redirect names. undici reads header bytes as Latin-1; addresses beyond ASCII come as UTF-8. */
function redirectTarget(from: URL, location: string | string[] | undefined): URL {
  const target = typeof location === "string" && URL.parse(Buffer.from(location, "latin1").toString(), from.href);
  if (!target) throw failed(from, "a redirect to one URL", location === undefined ? "no location" : "another location");
  return target;
}

/** What a try failed with: ours as it is, what may pass as Unavailable, the rest as FETCH_FAILED (certificates, bad HTTP). */
function translate(error: unknown, url: URL): Error {
  if (error instanceof LabelmillError || error instanceof Unavailable) return error;
  const code = systemCode(error);
  if (code === "UND_ERR_DESTROYED" || code === "UND_ERR_CLOSED") return aborted(error);
  if (code !== undefined && TRY_AGAIN_CODES.has(code)) return new Unavailable(code, { cause: error });
  return failed(url, "an image", code ?? show(messageOf(error)), error);
}
