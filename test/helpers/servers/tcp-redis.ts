import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { EmbeddedRedis } from "../../../src/redis/embedded/embedded.ts";
import { startTestRedis } from "./redis.ts";

/**
 * A Redis server at a TCP address that other processes can use. The address stays the same when the server is killed and replaced by an
 * empty one.
 */
export class TcpRedis implements AsyncDisposable {
  readonly url: string;
  readonly #proxy: Server;
  readonly #sockets = new Set<Socket>();
  #server: EmbeddedRedis | undefined;
  #isCut = false;
  #loseAt: string | undefined;

  private constructor(proxy: Server, server: EmbeddedRedis) {
    this.#proxy = proxy;
    this.#server = server;
    this.url = `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    proxy.on("connection", (outer) => this.#pass(outer));
  }

  static async start(): Promise<TcpRedis> {
    const server = await startTestRedis();
    const proxy = createServer().listen(0, "127.0.0.1");
    await once(proxy, "listening");
    return new TcpRedis(proxy, server);
  }

  /** The address of the server itself, without the proxy. */
  get address() {
    if (!this.#server) throw new Error("the server is down");
    return this.#server.address;
  }

  /** Ends the server like a kill: its data is lost and connections break. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Stops the server with its connections open, until it gets SIGCONT. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    if (this.#server) process.kill(this.#server.pid, signal);
  }

  /** Cuts the network: connections break and are refused until `restore`. The server keeps its data. */
  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Like `cut`, as soon as a client sends this command. */
  loseAt(command: string): void {
    this.#loseAt = command;
  }

  /** Accepts connections again after `cut`. */
  restore(): void {
    this.#isCut = false;
  }

  /** Replaces the server by an empty one. */
  async restart(): Promise<void> {
    await this.kill();
    this.#server = await startTestRedis();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#proxy.close();
    await once(this.#proxy, "close");
  }

  #pass(outer: Socket): void {
    const address = this.#isCut ? undefined : this.#server?.address;
    if (!address || !("socket" in address)) return void outer.destroy();
    const inner = connect(address.socket);
    outer.on("data", (data) => {
      if (this.#loseAt !== undefined && String(data).toLowerCase().includes(this.#loseAt)) this.cut();
    });
    for (const [one, other] of [
      [outer, inner],
      [inner, outer],
    ] as const) {
      this.#sockets.add(one);
      one.setNoDelay(true).pipe(other);
      one
        .on("error", () => {})
        .on("close", () => {
          this.#sockets.delete(one);
          other.destroy();
        });
    }
  }
}
