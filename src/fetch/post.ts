import type { Agent } from "undici";
import { abortable } from "../abortable.ts";
import { tryHttp } from "../retry/http.ts";
import { TransientError } from "../retry/transient-error.ts";
import { guardedAgent } from "./agent.ts";
import { UndiciAnswer } from "./answer.ts";
import { aborted } from "./failure.ts";
import { guardUrl, type Resolve } from "./guard.ts";
import { show } from "./printable-url.ts";

const CONNECT_TIMEOUT_MS = 5_000;
/** A longer body of an answer closes the connection. In bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** A body of an answer that takes longer closes the connection. */
const ANSWER_BODY_MS = 1_000;

/** Sends POST requests to URLs that others chose, through the guard and without redirects. Close it. */
export class Poster {
  readonly #agent: Agent;
  readonly #allowPrivate: boolean;

  /** @param options.resolve the name resolver. Default: the system's */
  constructor(options: { allowPrivate: boolean; resolve?: Resolve | undefined }) {
    this.#allowPrivate = options.allowPrivate;
    this.#agent = guardedAgent({ ...options, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  }

  /**
   * Sends one request. The body of the answer is discarded.
   * @param request.timeoutMs from the name look-up to the status
   * @returns the status: any but 408, 425, 429 and 5xx
   * @throws LabelmillError URL_REFUSED (the guard), ABORTED (by `signal`, or closed). TransientError for any other failure:
   * its message is what was got instead of an answer
   */
  async post(
    url: URL,
    request: { headers: Record<string, string>; body: Uint8Array; timeoutMs: number; signal: AbortSignal },
  ): Promise<number> {
    const { timeoutMs, signal } = request;
    return await tryHttp<PostAnswer, number>({
      ...{ url, timeoutMs, signal, aborted, maxRedirects: 0 },
      timeoutMessage: `no answer within ${timeoutMs} ms`,
      // Left at once when the signal aborts, even while undici still waits for a name or a connection.
      send: (to, end) => abortable(this.#send(to, request, end), end),
      isFinal: () => true,
      target: (from) => from,
      tooManyRedirects: () => new TransientError("a redirect"),
      read: async ({ status }) => status,
      networkError: (error) => error,
      permanent: (error, got) => permanent(error, got),
    });
  }

  /** Closes the connections. Running requests end with ABORTED. */
  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #send(
    url: URL,
    { headers, body }: { headers: Record<string, string>; body: Uint8Array },
    signal: AbortSignal,
  ): Promise<PostAnswer> {
    guardUrl(url, this.#allowPrivate);
    signal.throwIfAborted();
    const response = await this.#agent.request({
      origin: url.origin,
      path: url.pathname + url.search,
      method: "POST",
      headers: { "user-agent": "labelmill", "accept-encoding": "identity", ...headers },
      body,
      signal,
    });
    return new PostAnswer(response);
  }
}

class PostAnswer extends UndiciAnswer {
  /** Reads a short body, so that the connection can be used again. */
  override async drop(): Promise<void> {
    await this.body.dump({ limit: MAX_ANSWER_BYTES, signal: AbortSignal.timeout(ANSWER_BODY_MS) }).catch(() => {});
  }
}

/** ABORTED for a closed client, else a failure (certificates, invalid HTTP, a name without an address). */
function permanent(error: unknown, got: string): unknown {
  if (got === "UND_ERR_DESTROYED" || got === "UND_ERR_CLOSED") return aborted(error);
  return new TransientError(show(got), { cause: error });
}
