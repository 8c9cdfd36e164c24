import type { ServerResponse } from "node:http";

/** How long a reader may leave what was sent unread. */
const UNREAD_MS = 30_000;
const HEARTBEAT_MS = 15_000;

export type StreamTimes = {
  /** A reader that has not read for this long is dropped, in ms. */
  unreadMs: number;
  /** The time between two comments on an idle stream, in ms. Proxies close idle connections. */
  heartbeatMs: number;
};

export type StreamEvent = { id: string; event: string; data: unknown };

/**
 * A stream of server-sent events. It is bounded: while the reader has not read what was sent before, an event replaces the one that
 * waits, so that a slow reader gets fewer events. One that does not read at all is dropped.
 */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #times: StreamTimes;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #closed = new AbortController();
  #unread: NodeJS.Timeout | undefined;
  #waiting: string | undefined;
  #isLast = false;

  /** @param response a response that is not begun. The stream owns it from now on */
  constructor(
    response: ServerResponse,
    headers: Readonly<Record<string, string>>,
    times: StreamTimes = { unreadMs: UNREAD_MS, heartbeatMs: HEARTBEAT_MS },
  ) {
    this.#response = response;
    this.#times = times;
    response.on("drain", () => this.#drained());
    response.on("close", () => this.#end());
    response.on("error", () => {});
    this.#heartbeat = setInterval(() => this.#beat(), times.heartbeatMs);
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // For nginx, which would collect the events.
      "x-accel-buffering": "no",
      ...headers,
    });
    this.#write("retry: 2000\n\n");
  }

  /** Aborts when the reader has left, or was dropped, or the stream has ended. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Sends an event, or lets it wait for the reader. A later event replaces it then. */
  send(event: StreamEvent): void {
    if (this.#isLast || this.closed.aborted) return;
    const text = format(event);
    if (this.#unread) this.#waiting = text;
    else this.#write(text);
  }

  /** Sends the last event, after which the stream ends. */
  end(event: StreamEvent): void {
    if (this.#isLast || this.closed.aborted) return;
    this.send(event);
    this.#isLast = true;
    if (!this.#unread) this.#response.end();
  }

  #write(text: string): void {
    if (this.#response.write(text)) return;
    this.#unread ??= setTimeout(() => this.#response.destroy(), this.#times.unreadMs);
  }

  #drained(): void {
    clearTimeout(this.#unread);
    this.#unread = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) this.#write(waiting);
    if (this.#isLast && !this.#unread) this.#response.end();
  }

  #beat(): void {
    if (!this.#unread && !this.#isLast) this.#write(": still here\n\n");
  }

  #end(): void {
    clearInterval(this.#heartbeat);
    clearTimeout(this.#unread);
    this.#closed.abort();
  }
}

function format({ id, event, data }: StreamEvent): string {
  return `id: ${id}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
