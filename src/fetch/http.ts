import type { Agent } from "undici";
import { abortable } from "../abortable.ts";
import { LabelmillError } from "../errors.ts";
import { tryHttp } from "../retry/http.ts";
import { collect } from "../retry/read-body.ts";
import { retry } from "../retry/retry.ts";
import { TransientError } from "../retry/transient-error.ts";
import type { ObjectVersion } from "../schemas/enrichment/object.ts";
import { guardedAgent } from "./agent.ts";
import { UndiciAnswer } from "./answer.ts";
import { aborted, type Expected, namesVersion, tooLarge, versionChanged } from "./failure.ts";
import { guardUrl, type Resolve } from "./guard.ts";
import type { FetchLimits } from "./limits.ts";
import { show, showUrl } from "./printable-url.ts";

const GONE_STATUSES = new Set([404, 410]);

/** Fetches images and files over http and https, through the guard and within the limits. Keeps connections for reuse: close it. */
export class HttpFetcher {
  readonly #agent: Agent;
  readonly #allowPrivate: boolean;
  readonly #limits: FetchLimits;

  /** @param options.resolve the name resolver. Default: the system's */
  constructor(options: { allowPrivate: boolean; limits: FetchLimits; resolve?: Resolve | undefined }) {
    this.#allowPrivate = options.allowPrivate;
    this.#limits = options.limits;
    this.#agent = guardedAgent({
      allowPrivate: options.allowPrivate,
      connectTimeoutMs: options.limits.connectTimeoutMs,
      resolve: options.resolve,
    });
  }

  /**
   * The body of a 2xx answer, at most `maxBytes` long. The type that the server declares is ignored: the decoder decides.
   *
   * @throws LabelmillError URL_REFUSED (the guard), IMAGE_NOT_FOUND (404, 410), INPUT_CHANGED (not the expected ETag),
   * FETCH_FAILED (any other answer that a further try would meet again), FETCH_TOO_LARGE, FETCH_UNAVAILABLE (after all tries), ABORTED (by `signal`, at once)
   */
  async get(url: URL, expected: Expected, signal: AbortSignal): Promise<Uint8Array> {
    const { tries, backoffMs, maxRetryAfterMs } = this.#limits;
    return await retry(() => this.#try(url, expected, signal), {
      tries,
      backoff: { firstMs: backoffMs, jitter: 0.5 },
      signal,
      aborted,
      onFailure: (error, { failed, isLast }) => {
        if (!(error instanceof TransientError)) throw error;
        if (!isLast) return Math.min(error.retryAfterMs, maxRetryAfterMs);
        const message = `${showUrl(url)}: expected ${expected.what}, got ${error.message} (tried ${failed} times); try it later`;
        throw new LabelmillError("FETCH_UNAVAILABLE", message, { cause: error });
      },
    });
  }

  /** Closes the connections. Running fetches end with ABORTED. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #try(url: URL, expected: Expected, signal: AbortSignal): Promise<Uint8Array> {
    const { maxRedirects, timeoutMs } = this.#limits;
    return await tryHttp<UndiciAnswer, Uint8Array>({
      ...{ url, maxRedirects, timeoutMs, signal, aborted },
      timeoutMessage: `no full answer within ${timeoutMs} ms`,
      // Left at once when the signal aborts, even while undici still waits for a name or a connection.
      send: (to, end) => abortable(this.#send(to, expected, end), end),
      target: redirectTarget,
      tooManyRedirects: () => failed(url, `an answer after at most ${maxRedirects} redirects`, "one more redirect"),
      read: (answer, at) => this.#read(answer, expected, at),
      networkError: (error) => error,
      permanent: (error, got) => permanent(error, got, url, expected),
    });
  }

  async #send(url: URL, { object }: Expected, signal: AbortSignal): Promise<UndiciAnswer> {
    guardUrl(url, this.#allowPrivate);
    signal.throwIfAborted();
    const response = await this.#agent.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: "GET",
      headers: { "user-agent": "labelmill", "accept-encoding": "identity", ...condition(object) },
      signal,
    });
    return new UndiciAnswer(response);
  }

  async #read(answer: UndiciAnswer, { what, object, maxBytes: most }: Expected, url: URL): Promise<Uint8Array> {
    const { status, headers, body } = answer;
    if (namesVersion(object)) checkVersion(answer, object, url);
    if (GONE_STATUSES.has(status)) {
      throw new LabelmillError("IMAGE_NOT_FOUND", `${showUrl(url)}: expected ${what}, got status ${status}`);
    }
    if (status < 200 || status > 299) throw failed(url, what, `status ${status}`);
    // The request accepts no encoding, and a body that grows when it is decoded would need another limit.
    const encoding = String(headers["content-encoding"] ?? "identity").trim();
    if (!/^(identity)?$/i.test(encoding)) throw failed(url, `${what} as it is`, `content-encoding ${show(encoding)}`);
    const maxBytes = Math.min(this.#limits.maxBytes, most ?? Number.POSITIVE_INFINITY);
    const over = () => tooLarge(maxBytes, showUrl(url));
    if (Number(headers["content-length"] ?? 0) > maxBytes) throw over();
    return await collect(body, { maxBytes, tooLarge: over });
  }
}

function failed(url: URL, expected: string, got: string, cause?: unknown): LabelmillError {
  return new LabelmillError("FETCH_FAILED", `${showUrl(url)}: expected ${expected}, got ${got}`, { cause });
}

/** undici reads header bytes as Latin-1; servers send characters outside ASCII as UTF-8. */
function redirectTarget(from: URL, { headers: { location } }: UndiciAnswer): URL {
  const target = typeof location === "string" && URL.parse(Buffer.from(location, "latin1").toString(), from.href);
  if (!target) throw failed(from, "a redirect to one URL", location === undefined ? "no location" : "another location");
  return target;
}

/** ABORTED for a closed client, else FETCH_FAILED (certificates, invalid HTTP). */
function permanent(error: unknown, got: string, url: URL, { what }: Expected): LabelmillError {
  if (got === "UND_ERR_DESTROYED" || got === "UND_ERR_CLOSED") return aborted(error);
  return failed(url, what, show(got), error);
}

function condition(object: ObjectVersion | undefined): { "if-match"?: string } {
  return object?.etag === undefined ? {} : { "if-match": `"${object.etag}"` };
}

/** A server may ignore `If-Match`, so the ETag of its answer is compared too. */
function checkVersion(answer: UndiciAnswer, object: ObjectVersion, url: URL): void {
  const { status } = answer;
  if (status === 412 || GONE_STATUSES.has(status)) throw versionChanged(showUrl(url), object);
  if (status < 200 || status > 299) return;
  const etag = answer.header("etag");
  if (etag === null) throw failed(url, "an answer with an ETag, to compare it with that of the item", "none");
  if (etag.replace(/^(?:W\/)?"(.*)"$/, "$1") !== object.etag) throw versionChanged(showUrl(url), object);
}
