import { LabelmillError, messageOf, systemCode } from "../errors.ts";
import { retryAfterMs } from "./retry-after.ts";
import { TransientError } from "./transient-error.ts";

const REDIRECT_STATUSES = new Set([301, 302, 303, 307, 308]);
const RETRYABLE_STATUSES = new Set([408, 425, 429]);

/**
 * Failures of a connection that the next try may not meet: the peer's, the network's, and this machine's own limits. A name
 * without an address (ENOTFOUND) and an invalid certificate are not among them.
 */
const RETRYABLE_CODES = new Set([
  ...["ECONNRESET", "ECONNREFUSED", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH"],
  ...["ENETDOWN", "EAI_AGAIN", "UND_ERR_SOCKET", "UND_ERR_CONNECT_TIMEOUT", "UND_ERR_HEADERS_TIMEOUT"],
  ...["UND_ERR_BODY_TIMEOUT", "UND_ERR_RES_CONTENT_LENGTH_MISMATCH", "EMFILE", "ENFILE", "EADDRNOTAVAIL"],
]);

/** An answer whose body is not read yet. */
export interface HttpAnswer {
  readonly status: number;
  /** The value of a header that occurs once; null for any other. */
  header(name: string): string | null;
  /** Discards what is left of the body. */
  drop(): Promise<void> | void;
}

/** One request, with what differs between the clients: the transport, the checks and the errors. */
export type Exchange<A extends HttpAnswer, T> = {
  url: URL;
  maxRedirects: number;
  /** The time limit of a try, in milliseconds. `read` may restart it. */
  timeoutMs: number;
  /** The message of the error for a try that exceeded the limit. */
  timeoutMessage: string;
  /** Ends the try with `aborted(reason)`. */
  signal: AbortSignal;
  aborted(reason: unknown): unknown;
  /** Checks the URL and sends one request. The answers of redirects come here too. */
  send(url: URL, signal: AbortSignal): Promise<A>;
  /** Whether a redirect is the final answer. Default: none is. */
  isFinal?(redirect: A): boolean;
  /** The target of a redirect, or an error for one that must not be followed. */
  target(from: URL, redirect: A): URL;
  tooManyRedirects(): Error;
  /** Reads the final answer, of any status except 408, 425, 429 and 5xx. `restart` restarts the time limit. */
  read(answer: A, url: URL, restart: () => void): Promise<T>;
  /** The network's own error behind what was thrown; undefined for an error from elsewhere, which is thrown unchanged. */
  networkError(error: unknown): unknown;
  /** The error for a network failure that the next try would meet again. `got`: the system's code, else the message. */
  permanent(error: unknown, got: string): unknown;
};

/**
 * One try of a request: sends it, follows redirects, classifies the status and reads the answer, all under one time limit.
 *
 * @throws TransientError for a failure that the next try may not meet; what the functions of the exchange throw
 */
export async function tryHttp<A extends HttpAnswer, T>(exchange: Exchange<A, T>): Promise<T> {
  const { signal, timeoutMs } = exchange;
  if (signal.aborted) throw exchange.aborted(signal.reason);
  const end = new AbortController();
  const onAbort = () => end.abort(exchange.aborted(signal.reason));
  const onTimeout = () => end.abort(new TransientError(exchange.timeoutMessage));
  const timer = setTimeout(onTimeout, timeoutMs);
  signal.addEventListener("abort", onAbort, { once: true });
  let answer: A | undefined;
  try {
    const followed = await follow(exchange, end.signal);
    answer = followed.answer;
    checkStatus(answer);
    return await exchange.read(answer, followed.url, () => timer.refresh());
  } catch (error) {
    throw end.signal.aborted ? end.signal.reason : translate(error, exchange);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
    await answer?.drop();
  }
}

async function follow<A extends HttpAnswer, T>(exchange: Exchange<A, T>, signal: AbortSignal) {
  let { url } = exchange;
  for (let redirects = 0; ; redirects++) {
    const answer = await exchange.send(url, signal);
    if (!REDIRECT_STATUSES.has(answer.status) || exchange.isFinal?.(answer)) return { url, answer };
    await answer.drop();
    if (redirects === exchange.maxRedirects) throw exchange.tooManyRedirects();
    url = exchange.target(url, answer);
  }
}

function checkStatus(answer: HttpAnswer): void {
  const { status } = answer;
  if (status < 500 && !RETRYABLE_STATUSES.has(status)) return;
  throw new TransientError(`status ${status}`, {
    retryAfterMs: retryAfterMs(answer.header("retry-after"), Date.now()),
  });
}

function translate<A extends HttpAnswer, T>(error: unknown, exchange: Exchange<A, T>): unknown {
  if (error instanceof LabelmillError || error instanceof TransientError) return error;
  const cause = exchange.networkError(error);
  if (cause === undefined) return error;
  const code = systemCode(cause) ?? (cause instanceof AggregateError ? systemCode(cause.errors[0]) : undefined);
  if (code !== undefined && RETRYABLE_CODES.has(code)) return new TransientError(code, { cause: error });
  return exchange.permanent(error, code ?? messageOf(cause));
}
