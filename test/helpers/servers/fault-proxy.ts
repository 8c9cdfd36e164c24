import { Agent, createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pipeline } from "node:stream/promises";

export const FAULTS = ["error", "slow-down", "reset", "cut", "stall", "lie", "lost", "forbidden"] as const;
/**
 * A fault of a request.
 * Not forwarded: `error` answers 500, `slow-down` 503, `forbidden` 403. `reset` breaks the connection, `stall` never answers.
 * Forwarded: `cut` breaks the connection in the middle of the answer's body. After the server has executed the request, `lie`
 * answers 500 and `lost` breaks the connection.
 */
export type Fault = (typeof FAULTS)[number];

type Rule = { fault: Fault; left: number; method: string | undefined; path: RegExp | undefined };
type RandomFaults = { faults: readonly Fault[]; probability: number; next: () => number };

const CODES = {
  error: [500, "InternalError"],
  lie: [500, "InternalError"],
  "slow-down": [503, "SlowDown"],
  forbidden: [403, "AccessDenied"],
} as const;

/**
 * A proxy before an S3 server that makes requests fail on demand, and forwards the others unchanged. The Host header is kept
 * too, since the request's signature covers it.
 */
export class FaultProxy implements AsyncDisposable {
  readonly endpoint: string;
  readonly #target: URL;
  readonly #server: Server;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #rules: Rule[] = [];
  readonly #counts = new Map<Fault, number>();
  #random: RandomFaults | undefined;
  /** Every request as `METHOD /path?query`, followed by its range if it has one. */
  readonly requests: string[] = [];
  /** Called before a request fails. */
  onFault: (() => void) | undefined;
  /** Called when a client closes its connection in the middle of an answer. */
  onBroken: (() => void) | undefined;

  private constructor(target: URL, server: Server) {
    this.#target = target;
    this.#server = server;
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("connection", (socket) => socket.on("error", () => {}));
    server.on("request", (incoming, answer) => {
      this.#handle(incoming, answer).catch(() => incoming.socket.destroy());
    });
  }

  /** @param endpoint the HTTP endpoint of the server */
  static async start(endpoint: string): Promise<FaultProxy> {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    return new FaultProxy(new URL(endpoint), server);
  }

  /** Makes the next `times` matching requests fail. The first rule that matches applies. */
  next(fault: Fault, times: number, match: { method?: string; path?: RegExp } = {}): void {
    this.#rules.push({ fault, left: times, method: match.method, path: match.path });
  }

  /** From now on, each request without a matching rule fails with this probability, with one of `faults`. */
  failRandomly(faults: readonly Fault[], probability: number, seed: number): void {
    this.#random = { faults, probability, next: seeded(seed) };
  }

  /** Removes all rules and random faults. */
  clear(): void {
    this.#rules.length = 0;
    this.#random = undefined;
  }

  /** Closes all connections, and refuses new ones until `up`. */
  async down(): Promise<void> {
    const closed = new Promise((done) => this.#server.close(done));
    this.#server.closeAllConnections();
    await closed;
  }

  async up(): Promise<void> {
    const { port, hostname } = new URL(this.endpoint);
    await new Promise<void>((done) => this.#server.listen(Number(port), hostname, done));
  }

  /** The number of failed requests. @param fault counts only this fault. Default: all faults */
  count(fault?: Fault): number {
    if (fault) return this.#counts.get(fault) ?? 0;
    return [...this.#counts.values()].reduce((sum, each) => sum + each, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((done) => this.#server.close(() => done(undefined)));
    this.#server.closeAllConnections();
    this.#agent.destroy();
    await closed;
  }

  #faultOf({ method, url = "" }: IncomingMessage): Fault | undefined {
    const rule = this.#rules.find((each) => {
      return each.left > 0 && (each.method ?? method) === method && (each.path?.test(url) ?? true);
    });
    if (rule) {
      rule.left -= 1;
      return rule.fault;
    }
    if (!this.#random || this.#random.next() >= this.#random.probability) return undefined;
    const { faults, next } = this.#random;
    return faults[Math.floor(next() * faults.length)];
  }

  async #handle(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    // Both emit an error when a client closes its connection. That is expected here.
    for (const each of [incoming, answer]) each.on("error", () => {});
    const { method, url, headers } = incoming;
    this.requests.push(`${method} ${url}${headers.range ? ` ${headers.range}` : ""}`);
    const fault = this.#faultOf(incoming);
    if (fault) this.#counts.set(fault, this.count(fault) + 1);
    if (fault) this.onFault?.();
    if (fault === "reset") return void incoming.socket.resetAndDestroy();
    if (fault === "stall") return void incoming.resume();
    if (fault === "error" || fault === "slow-down" || fault === "forbidden") {
      for await (const _ of incoming);
      return refuse(answer, fault);
    }
    const from = await this.#forward(incoming);
    if (fault === "cut") return cut(from, answer);
    if (fault === "lie" || fault === "lost") {
      for await (const _ of from);
      return fault === "lie" ? refuse(answer, fault) : void incoming.socket.resetAndDestroy();
    }
    answer.writeHead(from.statusCode!, from.rawHeaders);
    await pipeline(from, answer).catch((error) => {
      this.onBroken?.();
      throw error;
    });
  }

  #forward(incoming: IncomingMessage): Promise<IncomingMessage> {
    return new Promise((done, reject) => {
      const { hostname, port } = this.#target;
      const { method, url: path, headers } = incoming;
      const onward = request({ hostname, port, agent: this.#agent, method, path, headers }, done);
      onward.on("error", reject);
      incoming.pipe(onward);
      // The client has closed its connection, so the request to the server is aborted.
      incoming.on("close", () => incoming.complete || onward.destroy());
    });
  }
}

function refuse(answer: ServerResponse, fault: keyof typeof CODES): void {
  const [status, code] = CODES[fault];
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>by the fault proxy</Message></Error>`;
  answer.writeHead(status, { "content-type": "application/xml", "content-length": Buffer.byteLength(body) });
  answer.end(answer.req.method === "HEAD" ? undefined : body);
}

/** Sends half of the body, then closes the connection. Without a body, it only closes the connection. */
async function cut(from: IncomingMessage, answer: ServerResponse): Promise<void> {
  const body = Buffer.concat(await Array.fromAsync(from as AsyncIterable<Buffer>));
  if (body.length === 0) return void answer.socket?.destroy();
  answer.writeHead(from.statusCode!, from.rawHeaders);
  answer.flushHeaders();
  const half = body.subarray(0, Math.floor(body.length / 2));
  await new Promise((done) => (half.length > 0 ? answer.write(half, done) : done(undefined)));
  answer.socket?.destroy();
}

/** Mulberry32: numbers from 0 to 1, the same ones for the same seed. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
